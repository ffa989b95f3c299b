"""Episodes of one or several datasets, in the form in which a writer takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.formats import EPISODE_DATA, Column, Episode, Reader
from swmjax.data.formats.base import NUMBERS
from swmjax.data.formats.episodes import said
from swmjax.data.formats.jpegs import Jpegs


class Sources:
    """Datasets whose episodes are copied, one dataset after the other.

    Columns that number episodes and rows are left out: writers fill them anew.

    Args:
        readers: The datasets.

    Raises:
        UserError: Their columns, or the values of whole episodes, differ.
    """

    def __init__(self, readers: Sequence[Reader]):
        self.readers = list(readers)
        self.columns = {name: self._common(name) for name in readers[0].columns if name not in NUMBERS}
        if not self.columns:
            raise UserError(f"{readers[0].path}: has no columns but those that number its rows")
        for reader in readers[1:]:
            for what, first, other in (
                ("columns", self.columns, {name for name in reader.columns if name not in NUMBERS}),
                ("values of whole episodes", readers[0].episode_columns, reader.episode_columns),
            ):
                if set(first) != set(other):
                    mine, more = (sorted(set(a) - set(b)) for a, b in ((first, other), (other, first)))
                    raise UserError(
                        f"column mismatch: {readers[0].path} and {reader.path} differ in their {what}; only the first "
                        f"has {mine or 'none'}, only the other {more or 'none'}"
                    )
        self.values = tuple(readers[0].episode_columns)
        self.lengths = np.concatenate([reader.lengths for reader in readers])
        self._begins = np.cumsum([0, *(len(reader.lengths) for reader in readers)])

    def _common(self, name: str) -> Column:
        """What a column holds in all datasets: numbers of the widest kind, in the shape of the first."""
        first = self.readers[0].columns[name]
        others = [reader.columns[name] for reader in self.readers if name in reader.columns]
        for reader in self.readers:
            column = reader.columns.get(name, first)
            same = (
                column.shape == first.shape if first.kind == "image" else np.prod(column.shape) == np.prod(first.shape)
            )
            if column.kind != first.kind or not same:
                raise UserError(
                    f"column mismatch: {name} is {said(first)} in {self.readers[0].path}, and {said(column)} in "
                    f"{reader.path}"
                )
        if first.kind != "number":
            return first
        return Column("number", first.shape, np.result_type(*(column.dtype for column in others)))

    def __len__(self) -> int:
        return len(self.lengths)

    def fingerprint(self) -> str:
        """What tells these episodes from others at little cost: their lengths, and kinds and first rows of columns."""
        digest = hashlib.sha256(self.lengths.tobytes())
        for name, column in self.columns.items():
            digest.update(f"{name} {column}".encode())
        if len(self):
            first = np.zeros(1, np.int64)
            for name in self.columns:
                digest.update(content_of(self.readers[0].read([name], first)[name]))
        return digest.hexdigest()

    def episode(self, number: int, values: bool = True) -> Episode:
        """An episode for a writer.

        Args:
            number: From 0 on, over all datasets.
            values: Whether values of the whole episode come with it.
        """
        reader, local, rows = self._place(number)
        plain = [name for name, column in self.columns.items() if column.kind != "image"]
        read = reader.read(plain, rows)
        columns: dict[str, Any] = {
            name: reader.copied(name, rows) if column.kind == "image" else as_column(column, read[name])
            for name, column in self.columns.items()
        }
        if self.values and values:
            columns[EPISODE_DATA] = {name: found[0] for name, found in reader.episode_data([local]).items()}
        return columns

    def _place(self, number: int) -> tuple[Reader, int, np.ndarray]:
        """The dataset of an episode, its number in it, and its rows."""
        owner = int(np.searchsorted(self._begins, number, side="right")) - 1
        reader, local = self.readers[owner], number - int(self._begins[owner])
        first = int(reader.offsets[local])
        return reader, local, np.arange(first, first + int(reader.lengths[local]))


def as_column(column: Column, array: np.ndarray) -> np.ndarray:
    if column.kind == "text":
        return array
    return array.reshape(len(array), *column.shape).astype(column.dtype, copy=False)


def content_of(column: Any) -> bytes:
    """What a column holds, for digests."""
    if isinstance(column, Jpegs):
        return b"".join(bytes(file) for file in column.files if file is not None)
    if column.dtype.kind in "UO":
        return "\0".join(map(str, column.tolist())).encode()
    return np.ascontiguousarray(column).tobytes()
