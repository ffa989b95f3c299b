"""What writers check of an episode before they take it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.formats.base import NUMBERS, Column, Episode

Columns = dict[str, np.ndarray]
"""Columns of an episode by name, [T, ...] each."""


def columns_of(episode: Episode, rename: Callable[[str], str] = str) -> Columns:
    """An episode's columns, with as many rows each.

    Args:
        episode: Columns and no values of whole episodes.
        rename: What a name becomes on disk.

    Raises:
        UserError: Columns differ in length, hold what no format does, or bear names that writers use.
    """
    columns = {rename(name): np.asarray(column) for name, column in episode.items()}
    if len(columns) != len(episode) or set(NUMBERS) & set(columns):
        raise UserError(f"the columns {', '.join(episode)} cannot be told apart, or bear the writer's own names")
    lengths = {name: len(column) for name, column in columns.items() if column.ndim}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise UserError(f"the columns of an episode must have the same number of rows and at least one, got {lengths}")
    length = next(iter(lengths.values()))
    columns = {name: column if column.ndim else np.full(length, column) for name, column in columns.items()}
    for name, column in columns.items():
        if column.dtype.kind not in "biuf" and not is_text(column):
            raise UserError(f"{name} is {column.dtype}; a column must hold numbers, or text")
        if column.dtype.kind in "UO":
            try:
                "".join(column.tolist()).encode()
            except UnicodeEncodeError as error:
                raise UserError(f"a text of {name} cannot be stored as UTF-8: {error}") from error
    return columns


def is_text(column: Any) -> bool:
    """Whether it has one text a row."""
    texts = column.dtype.kind == "U" or (column.dtype == object and all(isinstance(one, str) for one in column.flat))
    return texts and column.ndim == 1


def is_images(column: Any) -> bool:
    """Whether its rows are uint8 [H, W, 1 or 3]."""
    return column.dtype == np.uint8 and column.ndim == 4 and column.shape[-1] in (1, 3)


def column_of(array: np.ndarray) -> Column:
    """What an array of rows holds, kept as it is."""
    if is_text(array):
        return Column("text", (), np.dtype(object))
    return Column("image" if is_images(array) else "number", array.shape[1:], array.dtype)


def check_columns(place: object, known: Mapping[str, Column], columns: Columns) -> None:
    """Raise unless an episode has a dataset's columns; numbers may have a dtype that holds them as they are.

    Args:
        place: The dataset, for the message.
        known: Its columns, without those that writers fill by themselves.
        columns: Those of the episode.

    Raises:
        UserError: A column is missing, or more than the dataset has, or of another kind or size.
    """
    if set(known) != set(columns):
        missing, more = sorted(set(known) - set(columns)), sorted(set(columns) - set(known))
        raise UserError(f"{place}: missing columns {missing}, unexpected columns {more}")
    for name, array in columns.items():
        old, new = known[name], column_of(array)
        if old.kind == new.kind == "image":
            if old.shape != new.shape:
                raise UserError(f"{place}: the images of {name} are {size_of(old.shape)}, got {size_of(new.shape)}")
        elif (old.kind, old.shape) != (new.kind, new.shape) or not _fits(array, old.dtype):
            raise UserError(f"{place}: column {name} is {said(old)}, got {said(new)}")


def _fits(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether numbers can be stored so, rounded at most as floats are."""
    if array.dtype == dtype or dtype.kind == "O" or np.can_cast(array.dtype, dtype, "safe"):
        return True
    if dtype.kind == "f":
        return np.can_cast(array.dtype, dtype, "same_kind")
    if dtype.kind not in "iu" or array.dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def said(column: Column) -> str:
    """What a column holds, for messages."""
    if column.kind == "image":
        return f"images of {size_of(column.shape)}"
    return "text" if column.kind == "text" else f"{column.dtype} {list(column.shape)}"


def size_of(shape: tuple[int, ...]) -> str:
    """A size of images, for messages."""
    height, width, channels = shape
    return f"{height} x {width} px with {channels} channel{'' if channels == 1 else 's'}"
