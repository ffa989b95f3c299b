"""Datasets in the reference's Lance layout: one row a step, images as JPEG, numbers as float32 vectors, text as text.

What it adds: `id` and `seed`, which float32 would round, are int64; a schema may hold a record of how it was made.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from envs_mjx.checks import UserError, needs_extra
from swmjax.data.formats.base import EPISODE, ID, MODES, SEED, STEP, Episode, Format, Mode, Writer
from swmjax.data.formats.groups import Group
from swmjax.data.jpeg import encode_jpegs, jpeg_shape
from swmjax.runs.files import check_writable, disk_errors, hidden, holding, remove_leftovers

_RECORD = b"swmjax.record"


class LanceWriter(Writer):
    """Write episodes into a Lance dataset.

    Columns are those of the first episode, in its order; dots in names become underscores. A column whose frames are
    uint8 [H, W, 1 or 3] is an image, of the same size in all episodes; whole numbers named `id` or `seed` are int64;
    texts are strings; others are flattened to float32 vectors. A dataset that is replaced or grows is never half there.

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
        if mode not in MODES:
            raise UserError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.path = Path(path)
        if not Lance.detect(self.path):
            raise UserError(f"{self.path}: the name of a dataset must {Lance.place}")
        self._lance = _lance()
        there = self.path.exists()
        if there and mode == "error":
            raise FileExistsError(f"{self.path} exists; append to it or overwrite it, or take another name")
        if there and not _is_dataset(self.path):
            raise FileExistsError(f"{self.path} is no Lance dataset; it is not touched")
        self._record: str | None = None
        self._replaces = there and mode == "overwrite"
        self._dataset: Any = _opened(self._lance, self.path) if there else None
        self._schema: pa.Schema | None = None
        self._frames: dict[str, tuple[int, ...]] = {}
        self.episodes, self.columns, self.seeds = 0, (), None
        if there and mode == "append":
            self._read()
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
        columns = self._columns(episode)
        if self._schema is not None:
            self._check(columns)

    def write_episode(self, episode: Episode) -> None:
        """Add an episode; `Writer` says what it holds."""
        if self._block is None:
            raise UserError("episodes are written within `with LanceWriter(...) as writer`")
        columns = self._columns(episode)
        if self._schema is None:
            self._schema = _schema(columns)
            self.columns = tuple(self._schema.names)
        self._check(columns)
        self._waiting.append(self._batch(columns))
        self.episodes += 1
        if self._group.add(self._waiting[-1].nbytes):
            self._commit()

    @staticmethod
    def _columns(episode: Episode) -> dict[str, np.ndarray]:
        """Columns under the names that they have on disk, with as many rows each."""
        columns = {name.replace(".", "_"): np.asarray(column) for name, column in episode.items()}
        lengths = {name: len(column) for name, column in columns.items() if column.ndim}
        if len(columns) != len(episode) or {EPISODE, STEP} & set(columns):
            raise UserError(f"the columns {', '.join(episode)} cannot be told apart, or bear the writer's own names")
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise UserError(
                f"the columns of an episode must have the same number of rows and at least one, got {lengths}"
            )
        length = next(iter(lengths.values()))
        columns = {name: column if column.ndim else np.full(length, column) for name, column in columns.items()}
        for name, column in columns.items():
            if column.dtype.kind not in "biuf" and not _is_text(column):
                raise UserError(f"{name} is {column.dtype}; a column must hold numbers, or text")
        return columns

    def settle(self) -> None:
        """Commit what waits if the last commit was long ago."""
        if self._group.is_late():
            self._commit()

    def _read(self) -> None:
        """Columns and episodes of the dataset that is appended to."""
        kinds = {field.name: field.type for field in self._dataset.schema}
        usual = all(
            pa.types.is_binary(kind)
            or pa.types.is_string(kind)
            or (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32())
            or (name in (ID, SEED) and kind == pa.int64())
            for name, kind in kinds.items()
            if name not in (EPISODE, STEP)
        )
        if kinds.get(EPISODE) != pa.int32() or kinds.get(STEP) != pa.int32() or not usual:
            raise UserError(f"{self.path}: its columns are not those of an episode dataset, so nothing is appended")
        if _side_table(self.path).exists():
            raise UserError(f"{self.path}: has data of whole episodes beside it, which cannot be appended to")
        self._schema = self._dataset.schema.remove_metadata()
        self.columns = tuple(self._schema.names)
        if self._dataset.count_rows():
            self.episodes = int(self._dataset.to_table(columns=[EPISODE]).column(EPISODE).to_numpy().max()) + 1
        if kinds.get(SEED) == pa.int64():
            firsts = self._dataset.to_table(columns=[SEED], filter=f"{STEP} = 0")
            self.seeds = firsts.column(SEED).to_numpy()

    def _check(self, columns: Mapping[str, np.ndarray]) -> None:
        """ValueError unless an episode has the dataset's columns."""
        assert self._schema is not None
        names = set(self._schema.names) - {EPISODE, STEP}
        if names != set(columns):
            missing, more = sorted(names - set(columns)), sorted(set(columns) - names)
            raise UserError(f"{self.path}: missing columns {missing}, unexpected columns {more}")
        for name, column in columns.items():
            kind, given = self._schema.field(name).type, _kind(name, column)
            # The reference and the first release of this writer round these.
            rounded = given == pa.int64() and kind == pa.list_(pa.float32(), 1)
            if kind != given and not rounded:
                raise UserError(f"{self.path}: column {name} is {kind}, got {given}")
            if pa.types.is_binary(kind) and (size := self._frame(name, column)) != column.shape[1:]:
                raise UserError(f"{self.path}: the images of {name} are {_size(size)}, got {_size(column.shape[1:])}")

    def _frame(self, name: str, column: np.ndarray) -> tuple[int, ...]:
        """Height, width and channels of an image column, which the schema does not tell: those of the first image."""
        if name not in self._frames:
            old = None if self._dataset is None or self._replaces or not self._dataset.count_rows() else self._dataset
            self._frames[name] = (
                column.shape[1:]
                if old is None
                else jpeg_shape(old.take([0], columns=[name]).column(name)[0].as_py(), f"{self.path}: {name}")
            )
        return self._frames[name]

    def _batch(self, columns: Mapping[str, np.ndarray]) -> pa.RecordBatch:
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
                arrays.append(pa.array(encode_jpegs(column), pa.binary()))
            elif pa.types.is_string(field.type):
                arrays.append(pa.array(column.astype(str).tolist(), pa.string()))
            elif field.type == pa.int64():
                arrays.append(pa.array(column.astype(np.int64)))
            else:
                flat = np.ascontiguousarray(column, np.float32).reshape(-1)
                arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), field.type.list_size))
        return pa.record_batch(arrays, schema=self._schema)

    def _commit(self) -> None:
        """What waits becomes part of the dataset, all of it or nothing."""
        if not self._waiting:
            return
        group = pa.Table.from_batches(self._waiting).combine_chunks().to_reader()
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

    def _create(self, group: pa.RecordBatchReader) -> None:
        aside = hidden(self.path)
        shutil.rmtree(aside, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._overwrite(aside, group, "create")
        os.rename(aside, self.path)
        self._dataset = self._lance.dataset(str(self.path))
        assert self._block is not None
        self._hold(self._block)

    def _replace(self, group: pa.RecordBatchReader) -> None:
        self._dataset = self._overwrite(self.path, group, "overwrite")
        self._replaces = False
        shutil.rmtree(_side_table(self.path), ignore_errors=True)
        self._dataset.cleanup_old_versions(
            datetime.timedelta(0), delete_unverified=self._held, error_if_tagged_old_versions=False
        )

    def _append(self, group: pa.RecordBatchReader) -> None:
        known = (self._dataset.schema.metadata or {}).get(_RECORD)
        if self._record is not None and known != self._record.encode():
            self._dataset.update_schema_metadata({_RECORD.decode(): self._record})
            self._dataset = self._lance.dataset(str(self.path))
        fragments = self._fragments(self.path, group, "append")
        operation = self._lance.LanceOperation.Append(fragments)
        self._dataset = self._lance.LanceDataset.commit(str(self.path), operation, read_version=self._dataset.version)

    def _overwrite(self, path: Path, group: pa.RecordBatchReader, mode: str) -> Any:
        """A dataset, or a version of one, that holds a group alone."""
        assert self._schema is not None
        schema = self._schema if self._record is None else self._schema.with_metadata({_RECORD: self._record})
        operation = self._lance.LanceOperation.Overwrite(schema, self._fragments(path, group, mode))
        return self._lance.LanceDataset.commit(str(path), operation)

    def _fragments(self, path: Path, group: pa.RecordBatchReader, mode: str) -> list[Any]:
        return self._lance.fragment.write_fragments(group, str(path), schema=self._schema, mode=mode)

    def _hold(self, block: contextlib.ExitStack) -> None:
        self._held = block.enter_context(holding(self.path))

    def _remove_uncommitted(self) -> None:
        """Remove files that no version of the dataset refers to: a process died, or failed, before it committed them.

        Only where no other process can be about to commit them.
        """
        if not self._held:
            return
        data, newest = self.path / "data", self._lance.dataset(str(self.path))
        found = {entry.name for entry in data.iterdir() if ".lance" in entry.name} if data.is_dir() else set()
        found -= _files(newest)
        for version in newest.versions() if found else ():
            found -= _files(self._lance.dataset(str(self.path), version=version["version"]))
        for name in found:
            (data / name).unlink()


class Lance(Format):
    """One Lance dataset, a folder."""

    name = "lance"
    place = "end in .lance"

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether the name ends in `.lance`."""
        path = Path(path)
        return path.suffix == ".lance" and bool(path.stem)

    @classmethod
    def writer(cls, path: str | Path, mode: Mode = "error", **options: Any) -> LanceWriter:
        """A `LanceWriter`."""
        return LanceWriter(path, mode)

    @classmethod
    def record(cls, path: Path) -> dict[str, Any] | None:
        """What the metadata of its schema say."""
        if not _is_dataset(path):
            return None
        found = (_opened(_lance(), path).schema.metadata or {}).get(_RECORD)
        try:
            record = json.loads(found or b"null")
        except ValueError:
            return None
        return record if isinstance(record, dict) else None


def _is_dataset(path: Path) -> bool:
    return (path / "_versions").is_dir()


def _side_table(path: Path) -> Path:
    """Where the reference keeps what belongs to whole episodes."""
    return path.with_name(f"{path.stem}_episodes.lance")


def _opened(lance: Any, path: Path) -> Any:
    try:
        return lance.dataset(str(path))
    except Exception as error:  # Lance raises whatever a damaged file leads it to
        raise UserError(f"{path}: cannot be read, {' '.join(str(error).split())[:200]}") from error


def _files(dataset: Any) -> set[str]:
    return {file.path for fragment in dataset.get_fragments() for file in fragment.data_files()}


def _schema(columns: Mapping[str, np.ndarray]) -> pa.Schema:
    fields = [pa.field(EPISODE, pa.int32()), pa.field(STEP, pa.int32())]
    return pa.schema(fields + [pa.field(name, _kind(name, column)) for name, column in columns.items()])


def _kind(name: str, column: np.ndarray) -> pa.DataType:
    if column.dtype == np.uint8 and column.ndim == 4 and column.shape[-1] in (1, 3):
        return pa.binary()
    if _is_text(column):
        return pa.string()
    if name in (ID, SEED) and column.ndim == 1 and column.dtype.kind in "iu" and np.can_cast(column.dtype, np.int64):
        return pa.int64()
    return pa.list_(pa.float32(), int(np.prod(column.shape[1:])))


def _is_text(column: np.ndarray) -> bool:
    """Whether it has one text a row."""
    texts = column.dtype.kind == "U" or (column.dtype == object and all(isinstance(one, str) for one in column.flat))
    return texts and column.ndim == 1


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height} x {width} px with {channels} channel{'' if channels == 1 else 's'}"


def _lance() -> Any:
    with needs_extra("datasets need", "data"):
        import lance
        import lance.fragment
    return lance
