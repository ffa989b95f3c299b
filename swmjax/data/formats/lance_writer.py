"""Writes datasets in the reference's Lance layout, group by group.

What it adds: whole numbers of 64 bits, which float32 would round, are int64; texts are text; a schema may hold a record
of how it was made.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from envs_mjx.checks import UserError, check_choice
from swmjax.data.formats import lance_commits as commits
from swmjax.data.formats import lance_layout as layout
from swmjax.data.formats.base import EPISODE, MODES, SEED, STEP, Episode, Mode, Writer, split_episode_data
from swmjax.data.formats.episodes import columns_of, size_of
from swmjax.data.formats.groups import Group
from swmjax.data.formats.jpegs import Jpegs
from swmjax.data.formats.lance_episodes import EpisodeRows, EpisodeTable
from swmjax.data.jpeg import encode_jpegs, jpeg_shape
from swmjax.runs.files import check_writable, disk_errors, hidden, holding, remove_leftovers


class LanceWriter(Writer):
    """Write episodes into a Lance dataset.

    Columns are those of the first episode, in its order; dots in names become underscores. A column whose frames are
    uint8 [H, W, 1 or 3] is an image, of the same size in all episodes; whole numbers of 64 bits, and those named `id`
    or `seed`, are int64; texts are strings; others are flattened to float32 vectors. Data of whole episodes go into a
    table beside it. A dataset that is replaced or grows is never half there.

    Args:
        path: the dataset, a folder whose name ends in `.lance`.
        mode: `error` for a dataset that must not exist yet, `append`, or `overwrite`.

    Raises:
        UserError: the path or the mode is none, or there is no dataset of this layout to append to.
        FileExistsError: there is something already, and the mode is `error`.
        MissingExtraError: pylance is not installed; the message says how to install it.

    Source: reference, `data/formats/lance.py`.
    """

    def __init__(self, path: str | Path, mode: Mode = "error"):
        check_choice("mode", mode, MODES, show=str)
        self.path = Path(path)
        if self.path.suffix != layout.SUFFIX or not self.path.stem:
            raise UserError(f"{self.path}: the name of a Lance dataset must end in {layout.SUFFIX}")
        self._lance = layout.import_lance()
        there = self.path.exists()
        if there and mode == "error":
            raise FileExistsError(f"{self.path} exists; append to it or overwrite it, or take another name")
        if there and not layout.is_dataset(self.path):
            raise FileExistsError(f"{self.path} is no Lance dataset; it is not touched")
        self._record: str | None = None
        self._replaces = there and mode == "overwrite"
        self._dataset: Any = layout.opened(self.path) if there else None
        self._known: EpisodeTable | None = None
        self._schema: pa.Schema | None = None
        self._frames: dict[str, tuple[int, ...]] = {}
        self.episodes, self.columns, self.seeds = 0, (), None
        if there and mode == "append":
            self._read()
        self._side = EpisodeRows(self.path, self._known)
        self.committed = self.episodes
        self._waiting: list[pa.RecordBatch] = []
        self._held = False
        self._block: contextlib.ExitStack | None = None

    def __enter__(self) -> LanceWriter:
        with contextlib.ExitStack() as block:
            if self._dataset is None:
                check_writable(self.path.parent)
            else:
                self._hold(block)
                if self._lance.dataset(str(self.path)).version != self._dataset.version:
                    raise UserError(f"{self.path}: another process has just written to it; look at it and try again")
                check_writable(self.path)
                self._remove_uncommitted()
                if self._known is not None:
                    self._side.settle(self._known, self.episodes)
            remove_leftovers(self.path)
            self._block = block.pop_all()
        self._group = Group()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        with self._block:
            if kind is None:
                self._commit()

    def remember(self, record: Mapping[str, Any]) -> None:
        """Have the schema's metadata hold how the last episodes are made."""
        self._record = json.dumps(record)

    def check(self, episode: Episode) -> None:
        """Raise unless an episode fits into the dataset."""
        steps, values = split_episode_data(episode)
        columns = self._columns(steps)
        self._side.check(values)
        if self._schema is not None:
            self._check(columns)

    def write_episode(self, episode: Episode) -> None:
        """Add an episode; `Writer` says what it holds."""
        if self._block is None:
            raise UserError("episodes are written within `with LanceWriter(...) as writer`")
        steps, values = split_episode_data(episode)
        columns = self._columns(steps)
        self._side.check(values)
        if self._schema is None:
            self._schema = layout.schema_of(columns)
            self.columns = tuple(self._schema.names)
        self._check(columns)
        self._waiting.append(self._batch(columns))
        self._side.add(self.episodes, values)
        self.episodes += 1
        if self._group.add(self._waiting[-1].nbytes):
            self._commit()

    @staticmethod
    def _columns(episode: Episode) -> dict[str, Any]:
        """Columns under the names that they have on disk, with as many rows each; JPEG files stay such."""
        files = {layout.disk_name(name): column for name, column in episode.items() if isinstance(column, Jpegs)}
        # Their rows count, and nothing else of them needs a look.
        plain = {name: np.arange(len(c)) if isinstance(c, Jpegs) else c for name, c in episode.items()}
        return columns_of(plain, layout.disk_name) | files

    def settle(self) -> None:
        """Commit what waits if the last commit was long ago."""
        if self._group.is_late():
            self._commit()

    def _read(self) -> None:
        """Columns and episodes of the dataset that is appended to."""
        kinds = {field.name: field.type for field in self._dataset.schema}
        usual = all(layout.is_usual(kind) for name, kind in kinds.items() if name not in (EPISODE, STEP))
        if kinds.get(EPISODE) != pa.int32() or kinds.get(STEP) != pa.int32() or not usual:
            raise UserError(f"{self.path}: its columns are not those of an episode dataset, so nothing is appended")
        self._schema = self._dataset.schema.remove_metadata()
        self.columns = tuple(self._schema.names)
        if self._dataset.count_rows():
            self.episodes = int(layout.numbers_of_episodes(self._dataset, self.path)[-1]) + 1
        self._known = EpisodeTable(self.path, self._dataset, self.episodes)
        if kinds.get(SEED) == pa.int64():
            firsts = self._dataset.to_table(columns=[SEED], filter=f"{STEP} = 0")
            self.seeds = firsts.column(SEED).to_numpy()

    def _check(self, columns: Mapping[str, Any]) -> None:
        """ValueError unless an episode has the dataset's columns."""
        assert self._schema is not None
        names = set(self._schema.names) - {EPISODE, STEP}
        if names != set(columns):
            missing, more = sorted(names - set(columns)), sorted(set(columns) - names)
            raise UserError(f"{self.path}: missing columns {missing}, unexpected columns {more}")
        for name, column in columns.items():
            kind = self._schema.field(name).type
            if not layout.takes(kind, name, column):
                raise UserError(f"{self.path}: column {name} is {kind}, got {layout.arrow_type(name, column)}")
            if pa.types.is_binary(kind) and (size := self._frame(name, column)) != column.shape[1:]:
                given = size_of(column.shape[1:])
                raise UserError(f"{self.path}: the images of {name} are {size_of(size)}, got {given}")

    def _frame(self, name: str, column: Any) -> tuple[int, ...]:
        """Height, width and channels of an image column, which the schema does not tell: those of the first image."""
        if name not in self._frames:
            old = None if self._dataset is None or self._replaces or not self._dataset.count_rows() else self._dataset
            self._frames[name] = (
                column.shape[1:]
                if old is None
                else jpeg_shape(old.take([0], columns=[name]).column(name)[0].as_py(), f"{self.path}: {name}")
            )
        return self._frames[name]

    def _batch(self, columns: Mapping[str, Any]) -> pa.RecordBatch:
        assert self._schema is not None
        length = len(next(iter(columns.values())))
        arrays = []
        for field in self._schema:
            if field.name == EPISODE:
                arrays.append(pa.array(np.full(length, self.episodes, np.int32)))
                continue
            if field.name == STEP:
                arrays.append(pa.array(np.arange(length, dtype=np.int32)))
                continue
            column = columns[field.name]
            if pa.types.is_binary(field.type):
                files = column.files if isinstance(column, Jpegs) else encode_jpegs(column)
                arrays.append(pa.array(files, pa.binary()))
            elif pa.types.is_string(field.type):
                arrays.append(pa.array(column.astype(str).tolist(), pa.string()))
            elif field.type == pa.int64():
                arrays.append(pa.array(column.astype(np.int64)))
            else:
                flat = np.ascontiguousarray(column, field.type.value_type.to_pandas_dtype()).reshape(-1)
                arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), field.type.list_size))
        return pa.record_batch(arrays, schema=self._schema)

    def _commit(self) -> None:
        """What waits becomes part of the dataset, all of it or nothing."""
        if not self._waiting:
            return
        group = pa.Table.from_batches(self._waiting)
        try:
            with disk_errors(self.path):
                if self._dataset is None:
                    self._create(group)
                elif self._replaces:
                    self._replace(group)
                else:
                    self._append(group)
        except BaseException:
            shutil.rmtree(hidden(self.path), ignore_errors=True)
            if self._dataset is not None:
                self._remove_uncommitted()
            raise
        self._waiting = []
        self.committed = self.episodes
        self._group.commit()

    def _create(self, group: pa.Table) -> None:
        self._side.create()
        self._dataset = commits.create(self.path, self._marked(), group)
        assert self._block is not None
        self._hold(self._block)
        self._side.replaced(self._held)

    def _replace(self, group: pa.Table) -> None:
        self._side.replace()
        self._dataset = commits.replace(self.path, self._marked(), group)
        self._replaces = False
        self._side.replaced(self._held)
        self._dataset.cleanup_old_versions(
            datetime.timedelta(0), delete_unverified=self._held, error_if_tagged_old_versions=False
        )

    def _append(self, group: pa.Table) -> None:
        known = (self._dataset.schema.metadata or {}).get(layout.RECORD)
        if self._record is not None and known != self._record.encode():
            self._dataset.update_schema_metadata({layout.RECORD.decode(): self._record})
            self._dataset = layout.opened(self.path)
        self._side.append()
        self._dataset = commits.append(self._dataset, group)

    def _marked(self) -> pa.Schema:
        """The schema of a new dataset, with what its metadata say."""
        assert self._schema is not None
        said = {layout.RECORD: self._record, layout.MARK: self._side.mark}
        metadata = {name: value for name, value in said.items() if value is not None}
        return self._schema.with_metadata(metadata) if metadata else self._schema

    def _hold(self, block: contextlib.ExitStack) -> None:
        self._held = block.enter_context(holding(self.path))

    def _remove_uncommitted(self) -> None:
        """Remove files that nothing refers to, unless another process may be about to commit them."""
        if self._held:
            commits.remove_uncommitted(self.path)
