"""Where windows begin, and the arrays that hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np
from jaxtyping import Int64, Integer

from envs_mjx.checks import UserError
from swmjax.data.formats.base import Column

ACTION = "action"
"""The column that windows hold densely: one action a row, not one a step."""
Window = dict[str, Any]
"""Arrays by column name, [T, ...]; the text of the first row of a column of texts."""
Arrays = Mapping[str, np.ndarray]
Indices = Sequence[int] | np.ndarray


class Clips(Sequence[tuple[int, int]]):
    """Where windows begin, as (episode, row in it), episode after episode; computed and not stored.

    Args:
        counts: Windows of each episode; they begin at its first rows.
    """

    def __init__(self, counts: Integer[np.ndarray, " E"]):
        self.counts = counts.astype(np.int64)
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> tuple[int, int] | list[tuple[int, int]]:
        if isinstance(index, slice):
            episodes, starts = self.locate(np.arange(len(self))[index])
            return list(zip(episodes.tolist(), starts.tolist(), strict=True))
        episodes, starts = self.locate([int(index)])
        return int(episodes[0]), int(starts[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.stack(self.locate(np.arange(len(self))), axis=1).astype(dtype or np.int64, copy=False)

    def whole(self, indices: Indices) -> Int64[np.ndarray, " B"]:
        """Numbers of windows, those below 0 counted from the end.

        Raises:
            IndexError: There is no such window.
        """
        given = np.asarray(indices, np.int64).reshape(-1)
        found = np.where(given < 0, given + len(self), given)
        wrong = (found < 0) | (found >= len(self))
        if wrong.any():
            raise IndexError(f"there is no window {given[wrong][0]}; there are {len(self)}")
        return found

    def locate(self, indices: Indices) -> tuple[Int64[np.ndarray, " B"], Int64[np.ndarray, " B"]]:
        """Episode and first row of windows.

        Args:
            indices: Numbers of windows; those below 0 count from the end.

        Raises:
            IndexError: There is no such window.
        """
        found = self.whole(indices)
        episodes = np.searchsorted(self._ends, found, side="right")
        return episodes, found - self._ends[episodes] + self.counts[episodes]

    def number(self, episodes: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Numbers of the windows that begin at rows of episodes."""
        return self._ends[episodes] - self.counts[episodes] + starts


def in_steps(columns: Mapping[str, Any], *leading: int) -> dict[str, Any]:
    """Columns with the actions of a step side by side, [*leading, ...]."""
    if ACTION not in columns:
        return dict(columns)
    actions = columns[ACTION]
    width = math.prod(actions.shape[len(leading) - 1 :]) // leading[-1]
    return {**columns, ACTION: actions.reshape(*leading, width)}


def empty_rows(column: Column, leading: tuple[int, ...]) -> np.ndarray:
    """An array for rows of a column as windows hold them, [*leading, ...]; images are a view, channels first."""
    if column.kind == "text":
        return np.empty(leading[:1], object)
    array = np.empty((*leading, *column.shape), column.dtype)
    return np.moveaxis(array, -1, -3) if is_picture(column) else array


def is_picture(column: Column) -> bool:
    """Whether windows hold rows of a column channels first, as the reference does whatever numbers they are."""
    return column.kind == "image" or (len(column.shape) == 3 and column.shape[-1] in (1, 3))


def height_first(column: Column, array: np.ndarray) -> np.ndarray:
    """An array of `empty_rows` as readers fill it."""
    return np.moveaxis(array, -3, -1) if is_picture(column) else array


def single(arrays: Arrays, size: int) -> list[Window]:
    """Windows one by one, of arrays [size, ...]."""
    return [{name: array[i] for name, array in arrays.items()} for i in range(size)]


def stacked(windows: Sequence[Window], out: Arrays | None = None) -> dict[str, np.ndarray]:
    """Windows as arrays [B, ...] by name; texts as [B].

    Args:
        windows: Of one dataset.
        out: Arrays that are filled instead of made anew, for any of the columns.

    Raises:
        UserError: They do not have the same columns, each with the same shape.
    """
    names = list(windows[0]) if windows else []
    for window in windows:
        if window.keys() != windows[0].keys():
            raise UserError(f"windows of one batch have the columns {names} and {list(window)}")
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        values = [window[name] for window in windows]
        into = None if out is None else out.get(name)
        if isinstance(values[0], str):
            arrays[name] = np.empty(len(values), object) if into is None else into
            arrays[name][:] = values
            continue
        shapes = sorted({np.shape(value) for value in values})
        if len(shapes) > 1:
            raise UserError(f"windows of one batch have {name} of the shapes {shapes}")
        arrays[name] = np.stack(values, out=into)
    return arrays
