"""Reads datasets in the reference's Lance layout, exactly the rows asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.formats import lance_layout as layout
from swmjax.data.formats.base import EPISODE, STEP, Column, Reader
from swmjax.data.formats.jpegs import Jpegs
from swmjax.data.formats.lance_episodes import EpisodeTable
from swmjax.data.formats.lance_places import Places, places_of
from swmjax.data.jpeg import decode_jpegs, jpeg_shape
from swmjax.data.remote import is_address

_LONG = 1024
"""So many rows that follow one another are read as a part of the table; finding them one by one takes longer."""


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
        if not is_address(self.path) and not Path(self.path).exists():
            raise UserError(f"{self.path}: there is no such dataset")
        self._places: dict[str, Places | None] = {}
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
        return {**self.__dict__, "_open": None, "_places": {}}

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
        first = np.zeros(1, np.int64)
        height, width, _ = jpeg_shape(self._take([name], first).column(0)[0].as_py(), self._place(name, first, 0))
        return height, width, 3

    def _files_now(self) -> list[Any]:
        """Names of the files of this version, which never change."""
        fragments = self._dataset.get_fragments()
        return [
            ([file.path for file in each.data_files()], str(each.deletion_file()), each.num_deletions)
            for each in fragments
        ]

    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        found = self.empty(columns, len(rows), out)
        if not len(rows) or not found:
            return found
        others = {name: array for name, array in found.items() if not self._decode_in_place(name, rows, array)}
        table: Any = self._take(list(others), rows) if others else None
        for name, array in others.items():
            column, stored = self.columns[name], table.column(name).combine_chunks()
            if stored.null_count:
                row = int(rows[np.flatnonzero(stored.is_null().to_numpy(zero_copy_only=False))[0]])
                raise UserError(f"{self.path}: row {row} of {name} has no value")
            if column.kind == "image":
                decode_jpegs(_files(stored), array, partial(self._place, name, rows))
            elif column.kind == "text":
                array[:] = stored.to_pylist()
            else:
                flat = stored.flatten() if column.shape else stored
                array[...] = flat.to_numpy(zero_copy_only=False).reshape(array.shape)
        return found

    def copied(self, column: str, rows: Int64[np.ndarray, " R"]) -> Any:
        """Rows of a column for a writer: of images, the files."""
        if self.columns[column].kind != "image":
            return super().copied(column, rows)
        stored = self._take([column], rows).column(0).combine_chunks()
        return Jpegs(_files(stored), partial(self._place, column, rows))

    def _decode_in_place(self, name: str, rows: Int64[np.ndarray, " R"], out: np.ndarray) -> bool:
        """Whether images could be decoded past Lance."""
        if self.columns[name].kind != "image":
            return False
        if name not in self._places:
            self._places[name] = places_of(self._dataset, self.path, name)
        places = self._places[name]
        if places is None or len(places) != self.rows:
            return False
        self.locate(rows)
        decode_jpegs(places.rows(rows), out, partial(self._place, name, rows))
        return True

    def _place(self, name: str, rows: Int64[np.ndarray, " R"], number: int) -> str:
        return f"{self.path}: row {rows[number]} of {name}"

    def _take(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> pa.Table:
        try:
            if len(rows) >= _LONG and (np.diff(rows) == 1).all():
                return self._dataset.to_table(columns=list(columns), offset=int(rows[0]), limit=len(rows))
            return self._dataset.take(rows.tolist(), columns=list(columns))
        except Exception as error:
            raise layout.unreadable(self.path, error) from error

    @property
    def episode_columns(self) -> tuple[str, ...]:
        """Names of the values that belong to whole episodes."""
        return self._episodes.columns

    def episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes."""
        return self._episodes.values(range(len(self.lengths)) if episodes is None else episodes)


def _files(stored: Any) -> list[memoryview]:
    """Values of a binary column, in Arrow's own memory."""
    _, ends, data = stored.buffers()
    width = np.int64 if pa.types.is_large_binary(stored.type) else np.int32
    places = np.frombuffer(ends, width)[stored.offset :][: len(stored) + 1].tolist()
    content = memoryview(data or b"").cast("B")
    return [content[begin:end] for begin, end in pairwise(places)]
