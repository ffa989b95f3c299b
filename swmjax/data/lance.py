"""Datasets in the reference's Lance layout: one row a step, images as JPEG, everything else as float32 vectors.

A dataset is committed once, when its writer is closed: until then, and after an error, there is what was before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from envs_mjx.checks import UserError, needs_extra
from swmjax.data.jpeg import encode_jpeg

Mode = Literal["error", "append", "overwrite"]
MODES: tuple[str, ...] = ("error", "append", "overwrite")
"""What a writer does where there is a dataset already."""
EPISODE, STEP = "episode_idx", "step_idx"
"""The columns that the writer fills by itself."""

_BATCH_STEPS = 2048
"""Rows after which a piece of the dataset goes to disk."""


class LanceWriter:
    """Write episodes into a Lance dataset.

    Columns are those of the first episode, in its order; dots in names become underscores. A column whose frames are
    uint8 [H, W, 1 or 3] is an image; others are flattened to float32 vectors.

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
        if self.path.suffix != ".lance" or not self.path.stem:
            raise UserError(f"{self.path}: the name of a dataset must end in .lance")
        self._lance = _lance()
        there = self.path.exists()
        if there and mode == "error":
            raise FileExistsError(f"{self.path} exists; append to it or overwrite it, or take another name")
        if there and not (self.path / "_versions").is_dir():
            raise FileExistsError(f"{self.path} is no Lance dataset; it is not touched")
        self._schema: pa.Schema | None = None
        self._old: Any = None
        if mode == "append" and there:
            self._old = self._opened()
        # A new dataset grows beside its place; pieces of an old one lie in its folder, and count once committed.
        aside = self.path.with_name(f".{self.path.stem}.{os.getpid()}.lance")
        self._place = aside if self._old is None else self.path
        self._first = self.episodes = self._count()
        self._fragments: list[Any] = []
        self._waiting: list[pa.RecordBatch] = []

    def __enter__(self) -> LanceWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._clean()

    def write_episode(self, episode: Mapping[str, np.ndarray]) -> None:
        """Add an episode.

        Args:
            episode: columns with the same number of rows; uint8 images, and numbers or truth values of any shape.

        Raises:
            UserError: its columns are not those of the dataset, or differ in length, or are of another kind.
        """
        columns = {name.replace(".", "_"): np.asarray(column) for name, column in episode.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(columns) != len(episode) or {EPISODE, STEP} & set(columns):
            raise UserError(f"the columns {', '.join(episode)} cannot be told apart, or bear the writer's own names")
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise UserError(
                f"the columns of an episode must have the same number of rows and at least one, got {lengths}"
            )
        for name, column in columns.items():
            if column.dtype.kind not in "biuf":
                raise UserError(f"{name} is {column.dtype}; a column must hold numbers")
        if self._schema is None:
            self._schema = _schema(columns)
        self._check(columns)
        self._waiting.append(self._batch(columns, next(iter(lengths.values()))))
        self.episodes += 1
        if sum(batch.num_rows for batch in self._waiting) >= _BATCH_STEPS:
            self._flush()

    def _opened(self) -> Any:
        try:
            old = self._lance.dataset(str(self.path))
        except Exception as error:  # Lance raises whatever a damaged file leads it to
            raise UserError(f"{self.path}: cannot be read, {' '.join(str(error).split())[:200]}") from error
        kinds = {field.name: field.type for field in old.schema}
        usual = all(
            pa.types.is_binary(kind) or (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32())
            for name, kind in kinds.items()
            if name not in (EPISODE, STEP)
        )
        if kinds.get(EPISODE) != pa.int32() or kinds.get(STEP) != pa.int32() or not usual:
            raise UserError(f"{self.path}: its columns are not those of an episode dataset, so nothing is appended")
        if self.path.with_name(f"{self.path.stem}_episodes.lance").exists():
            raise UserError(f"{self.path}: has data of whole episodes beside it, which cannot be appended to")
        self._schema = old.schema
        return old

    def _count(self) -> int:
        if self._old is None or not self._old.count_rows():
            return 0
        return int(self._old.to_table(columns=[EPISODE]).column(EPISODE).to_numpy().max()) + 1

    def _check(self, columns: Mapping[str, np.ndarray]) -> None:
        """ValueError unless an episode has the dataset's columns."""
        assert self._schema is not None
        names = set(self._schema.names) - {EPISODE, STEP}
        if names != set(columns):
            missing, more = sorted(names - set(columns)), sorted(set(columns) - names)
            raise UserError(f"{self.path}: missing columns {missing}, unexpected columns {more}")
        for name, column in columns.items():
            kind, given = self._schema.field(name).type, _kind(column)
            if kind != given:
                raise UserError(f"{self.path}: column {name} is {kind}, got {given}")

    def _batch(self, columns: Mapping[str, np.ndarray], length: int) -> pa.RecordBatch:
        assert self._schema is not None
        arrays = []
        for field in self._schema:
            if field.name == EPISODE:
                arrays.append(pa.array(np.full(length, self.episodes, np.int32)))
            elif field.name == STEP:
                arrays.append(pa.array(np.arange(length, dtype=np.int32)))
            elif pa.types.is_binary(field.type):
                arrays.append(pa.array([encode_jpeg(frame) for frame in columns[field.name]], pa.binary()))
            else:
                flat = np.ascontiguousarray(columns[field.name], np.float32).reshape(-1)
                arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), field.type.list_size))
        return pa.record_batch(arrays, schema=self._schema)

    def _flush(self) -> None:
        """Write what waits to disk; it becomes part of the dataset when that is committed."""
        if not self._waiting:
            return
        reader = pa.RecordBatchReader.from_batches(self._schema, self._waiting)
        mode = "create" if self._old is None else "append"
        self._fragments += self._lance.fragment.write_fragments(
            reader, str(self._place), schema=self._schema, mode=mode
        )
        self._waiting = []

    def _commit(self) -> None:
        self._flush()
        if not self._fragments:
            return
        operation, old = self._lance.LanceOperation, self._old
        if old is not None:
            self._lance.LanceDataset.commit(str(self.path), operation.Append(self._fragments), read_version=old.version)
            self._fragments = []
            return
        self._lance.LanceDataset.commit(str(self._place), operation.Overwrite(self._schema, self._fragments))
        aside = self.path.with_name(f".{self.path.stem}.{os.getpid()}.old.lance")
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path, aside)
        os.replace(self._place, self.path)
        shutil.rmtree(aside, ignore_errors=True)
        self._fragments = []

    def _clean(self) -> None:
        """Remove what was written and not committed."""
        if self._place != self.path:
            shutil.rmtree(self._place, ignore_errors=True)
        for fragment in self._fragments:
            for file in fragment.files:
                (self._place / "data" / file.path).unlink(missing_ok=True)


def _schema(columns: Mapping[str, np.ndarray]) -> pa.Schema:
    fields = [pa.field(EPISODE, pa.int32()), pa.field(STEP, pa.int32())]
    return pa.schema(fields + [pa.field(name, _kind(column)) for name, column in columns.items()])


def _kind(column: np.ndarray) -> pa.DataType:
    image = column.dtype == np.uint8 and column.ndim == 4 and column.shape[-1] in (1, 3)
    return pa.binary() if image else pa.list_(pa.float32(), int(np.prod(column.shape[1:])))


def _lance() -> Any:
    with needs_extra("datasets need", "data"):
        import lance
        import lance.fragment
    return lance
