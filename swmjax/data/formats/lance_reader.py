"""Reads datasets in the reference's Lance layout, exactly the rows asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.formats import lance_layout as layout
from swmjax.data.formats.base import EPISODE, STEP, Column, Reader
from swmjax.data.formats.lance_episodes import EpisodeTable
from swmjax.data.jpeg import decode_jpeg, jpeg_shape


class LanceReader(Reader):
    """Read a Lance dataset, as it was when this was made.

    Args:
        path: The dataset, a path or an address; or the folder that holds it.
        table_name: The table, where a folder holds several.
        storage_options: How an address is reached, as Lance takes it.

    Raises:
        UserError: There is no such dataset, it is damaged, or its columns are none that the layout has.
        MissingExtraError: pylance is not installed; the message says how to install it.

    Source: reference, `data/formats/lance.py`.
    """

    def __init__(
        self,
        path: str | Path,
        table_name: str | None = None,
        storage_options: Mapping[str, str] | None = None,
    ):
        self.path = layout.table_of(path, table_name)
        self._options = None if storage_options is None else dict(storage_options)
        if not layout.is_address(self.path) and not Path(self.path).exists():
            raise UserError(f"{self.path}: there is no such dataset")
        self._open: Any = layout.opened(self.path, storage_options=self._options)
        self._version = self._open.version
        schema = self._open.schema
        if EPISODE not in schema.names or STEP not in schema.names:
            raise UserError(f"{self.path}: has no columns {EPISODE} and {STEP}, so it is no dataset of episodes")
        numbers = layout.numbers_of_episodes(self._open, self.path)
        begins = np.flatnonzero(np.diff(numbers)) + 1
        self.lengths = np.diff([0, *begins, len(numbers)]).astype(np.int64)[: len(numbers)]
        self.columns = {field.name: self._column(field) for field in schema if field.name not in (EPISODE, STEP)}
        if not self.columns:
            raise UserError(f"{self.path}: has no columns but those that number its rows")
        self._episodes = EpisodeTable(self.path, self._open, len(self.lengths), self._options)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    @property
    def _dataset(self) -> Any:
        if self._open is None:
            self._open = layout.opened(self.path, self._version, self._options)
        return self._open

    def _column(self, field: pa.Field) -> Column:
        kind = field.type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return Column("image", self._image_shape(field.name), np.dtype(np.uint8))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return Column("text", (), np.dtype(object))
        single = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
        if pa.types.is_floating(single) or pa.types.is_integer(single) or pa.types.is_boolean(single):
            shape = () if single is kind else (kind.list_size,)
            return Column("number", shape, np.dtype(single.to_pandas_dtype()))
        raise UserError(f"{self.path}: column {field.name} is {kind}, which holds no numbers, images or texts")

    def _image_shape(self, name: str) -> tuple[int, ...]:
        """Height, width and channels of all images of a column: those of the first."""
        if not len(self.lengths):
            return (0, 0, 3)
        data = self._take([name], np.zeros(1, np.int64)).column(0)[0]
        return (*jpeg_shape(_bytes(data, f"{self.path}: row 0 of {name}"), f"{self.path}: row 0 of {name}")[:2], 3)

    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        if not len(rows):
            return {name: np.empty((0, *self.columns[name].shape), self.columns[name].dtype) for name in columns}
        table = self._take(list(columns), rows)
        found: dict[str, np.ndarray] = {}
        for name in columns:
            column, stored = self.columns[name], table.column(name).combine_chunks()
            if stored.null_count:
                row = int(rows[np.flatnonzero(stored.is_null().to_numpy(zero_copy_only=False))[0]])
                raise UserError(f"{self.path}: row {row} of {name} has no value")
            array = np.empty((len(rows), *column.shape), column.dtype) if out is None or name not in out else out[name]
            if column.kind == "image":
                self._decode(name, stored, rows, array)
            elif column.kind == "text":
                array[:] = stored.to_pylist()
            else:
                flat = stored.flatten() if column.shape else stored
                array[...] = flat.to_numpy(zero_copy_only=False).reshape(array.shape)
            found[name] = array
        return found

    def _take(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> pa.Table:
        try:
            return self._dataset.take(rows.tolist(), columns=list(columns))
        except Exception as error:
            raise layout.unreadable(self.path, error) from error

    def _decode(self, name: str, stored: Any, rows: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        for i, row in enumerate(rows.tolist()):
            place = f"{self.path}: row {row} of {name}"
            data = _bytes(stored[i], place)
            shape = (*jpeg_shape(data, place)[:2], 3)
            if shape != self.columns[name].shape:
                height, width, _ = self.columns[name].shape
                raise UserError(f"{place} is {shape[0]} x {shape[1]} px, and the first one {height} x {width} px")
            out[i] = decode_jpeg(data)

    @property
    def episode_columns(self) -> tuple[str, ...]:
        """Names of the values that belong to whole episodes."""
        return self._episodes.columns

    def episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes."""
        return self._episodes.values(range(len(self.lengths)) if episodes is None else episodes)


def _bytes(value: Any, place: str) -> bytes:
    data = value.as_py()
    if data is None:
        raise UserError(f"{place} has no value")
    return data
