"""Windows of episodes: clips of a few steps, in the reference's layout, cut from any dataset that a `Reader` reads."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError, check_name, check_whole
from swmjax.data.clips import (
    ACTION,
    Arrays,
    Clips,
    Indices,
    Window,
    empty_rows,
    height_first,
    in_steps,
    single,
    stacked,
)
from swmjax.data.formats.base import EPISODE, STEP, Column, Reader
from swmjax.data.kept import Kept
from swmjax.data.threads import take

Transform = Callable[[Window], Window]

_MOSTLY = 0.8
"""Where so many of the rows of a batch are different ones, the few others are read twice: the batch is then filled
where it lies, and to copy all of it from somewhere else would cost more."""


class Dataset(abc.ABC):
    """Windows of episodes by number, singly or in batches.

    A window spans `num_steps * frameskip` rows of one episode and holds every `frameskip`-th of them; `action` keeps
    all of them, reshaped to [num_steps, frameskip * A]. Images, and other rows of the form [H, W, 1 or 3], stand
    channels first. What a window does not need is neither fetched nor decoded.

    Attributes:
        num_steps: Steps of a window.
        frameskip: Rows from one step to the next.
        transform: Changes the columns of one window, or of what `load_chunk` and `load_episode` cut; it sees single
            actions, [rows, A]. May be set at any time.
        columns: What its columns hold, by name, before the transform.
        lengths: Rows of each episode.
        offsets: The row at which each episode begins.
        clip_indices: Episode and first row of each window.
    """

    num_steps: int
    frameskip: int
    transform: Transform | None
    columns: Mapping[str, Column]
    lengths: Int64[np.ndarray, " E"]
    offsets: Int64[np.ndarray, " E"]
    clip_indices: Clips

    @abc.abstractmethod
    def _fetch(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        """What lies `length` rows from each start, before the dataset's own transform; actions are single.

        Args:
            episodes: Numbers of episodes.
            starts: First rows in them.
            length: Rows, frameskip not counted.
            columns: Names of those that are wanted; all if None.
            out: Arrays [B, ...] by name that are filled instead of made anew.

        Returns:
            Arrays [B, T, ...], where T is `length` for `action` and the steps in it for all others; [B] texts.
        """

    @abc.abstractmethod
    def _read(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> dict[str, np.ndarray]:
        """Rows of columns as they are stored, images height first: [R, ...] each."""

    @property
    def span(self) -> int:
        """Rows from the first of a window to behind its last."""
        return self.num_steps * self.frameskip

    @property
    def column_names(self) -> list[str]:
        """Names of its columns."""
        return list(self.columns)

    @property
    def window_columns(self) -> list[str]:
        """Names of the columns of windows, but for those that a transform makes."""
        return self.column_names

    @property
    def episode_column_names(self) -> list[str]:
        """Names of the values that belong to whole episodes."""
        return []

    def get_episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes by name, one for each that is asked for; of all episodes if None."""
        return {}

    def __len__(self) -> int:
        return len(self.clip_indices)

    def __getitem__(self, index: SupportsIndex) -> Window:
        return self.__getitems__([int(index)])[0]

    def __getitems__(self, indices: Indices) -> list[Window]:
        """Windows, fetched together."""
        return [in_steps(window, self.num_steps) for window in self._transformed(self._cut_windows(indices))]

    def batch(self, indices: Indices, out: Arrays | None = None) -> dict[str, np.ndarray]:
        """Windows as arrays; the fastest way to many of them.

        Args:
            indices: Numbers of windows, in any order, repeated as asked.
            out: Arrays as `empty` makes them, which are filled and returned.

        Returns:
            Arrays [B, num_steps, ...] by name, [B] of texts; images uint8 [B, num_steps, C, H, W], as a view of memory
            that is height first.

        Raises:
            IndexError: There is no such window.
            UserError: A file is damaged, or the windows differ in their columns or shapes.
        """
        if self.transform is not None:
            return stacked(self.__getitems__(indices), out)
        if out is not None and self.transforms:
            made = self.batch(indices)
            for name, array in made.items():
                out[name][...] = array
            return {name: out[name] for name in made}
        if out is not None and ACTION in out:
            if not out[ACTION].flags.c_contiguous:
                raise UserError(f"the array for {ACTION} has gaps in memory; `empty` makes one without")
            out = {**out, ACTION: out[ACTION].reshape(-1, self.span, *self.columns[ACTION].shape)}
        return in_steps(self._windows(indices, out=out), len(np.asarray(indices)), self.num_steps)

    def empty(self, size: int) -> dict[str, np.ndarray]:
        """Arrays for `batch` to fill, in the memory layout that it fills fastest.

        Args:
            size: Windows in a batch.

        Returns:
            Arrays [size, ...] by name, with anything in them.
        """
        if not self.transforms:
            return in_steps(self._empty(size), size, self.num_steps)
        return {
            name: np.empty((size, *np.shape(value)), object if isinstance(value, str) else np.asarray(value).dtype)
            for name, value in self.seeded(0)[0].items()
        }

    @property
    def transforms(self) -> bool:
        """Whether windows are transformed, here or in a dataset that this one stands on."""
        return self.transform is not None

    def seeded(self, *key: int) -> Dataset:
        """This dataset with what it draws at random made of a key; itself if it draws nothing.

        A loader that asks the dataset of each batch's own key gets the same batch whatever it loaded before, and in
        however many threads.
        """
        return self

    def _empty(self, size: int) -> dict[str, np.ndarray]:
        """What `_windows` fills, if nothing is transformed."""
        return {
            name: empty_rows(column, (size, self.span if name == ACTION else self.num_steps))
            for name, column in self.columns.items()
        }

    def load_chunk(self, episodes: Indices, starts: Indices, ends: Indices) -> list[Window]:
        """Parts of episodes, strided as windows are.

        Args:
            episodes: Numbers of episodes.
            starts: First rows in them.
            ends: The rows behind the last.

        Raises:
            UserError: An episode, or a part of it, is not there; or its actions do not fill whole steps.
        """
        episodes, starts, ends = (np.asarray(each, np.int64).reshape(-1) for each in (episodes, starts, ends))
        self._check_parts(episodes, starts, ends)
        chunks: list[Window] = [{} for _ in episodes]
        for length in np.unique(ends - starts).tolist():
            if length % self.frameskip and ACTION in self.columns:
                raise UserError(f"chunks of {length} rows have no whole number of steps of {self.frameskip} actions")
            places = np.flatnonzero(ends - starts == length)
            cut = self._transformed(self._cut(episodes[places], starts[places], length))
            for place, window in zip(places.tolist(), cut, strict=True):
                chunks[place] = in_steps(window, length // self.frameskip)
        return chunks

    def load_episode(self, episode: int) -> Window:
        """A whole episode, strided as windows are; its actions stay single."""
        check_whole("episode", episode, 0, len(self.lengths) - 1)
        first = np.zeros(1, np.int64)
        return self._transformed(self._cut(first + episode, first, int(self.lengths[episode])))[0]

    def _check_parts(self, episodes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        if not len(episodes) == len(starts) == len(ends):
            raise UserError(f"got {len(episodes)} episodes, {len(starts)} starts and {len(ends)} ends")
        for episode, start, end in zip(episodes.tolist(), starts.tolist(), ends.tolist(), strict=True):
            check_whole("episode", episode, 0, len(self.lengths) - 1)
            if not 0 <= start < end <= self.lengths[episode]:
                raise UserError(
                    f"rows {start} to {end} are not in episode {episode}, which has {self.lengths[episode]}"
                )

    def get_col_data(self, column: str) -> np.ndarray:
        """All rows of a column, [R, ...], images height first; no transform sees them.

        Numbers of episodes, and of rows in them, are there under the names that they have in Lance.
        """
        if column in (EPISODE, STEP) and column not in self.columns:
            episodes = np.repeat(np.arange(len(self.lengths)), self.lengths)
            return episodes if column == EPISODE else np.arange(len(episodes)) - self.offsets[episodes]
        check_name("column", column, self.columns)
        return self._read([column], np.arange(int(self.lengths.sum())))[column]

    def get_row_data(self, rows: int | Indices) -> dict[str, Any]:
        """All columns of a row, or of some, by name, images height first; no transform sees them.

        Args:
            rows: Numbers of rows from 0 on, in any order; those below 0 count from the end.

        Raises:
            IndexError: There is no such row.
        """
        count, given = int(self.lengths.sum()), np.asarray(rows, np.int64)
        found = np.where(given < 0, given + count, given)
        if ((found < 0) | (found >= count)).any():
            raise IndexError(f"there is no row {given[(found < 0) | (found >= count)].flat[0]}; there are {count}")
        read = self._read(self._row_columns(), found.reshape(-1))
        return {name: column[0] if given.ndim == 0 else column for name, column in read.items()}

    def get_dim(self, column: str) -> int:
        """Numbers in one row of a column."""
        check_name("column", column, self.columns)
        return int(np.prod(self.columns[column].shape))

    def _row_columns(self) -> list[str]:
        """Names of the columns that every row has."""
        return self.column_names

    def _windows(
        self, indices: Indices, columns: Sequence[str] | None = None, out: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        """Windows before the dataset's own transform, with single actions; see `_fetch`."""
        episodes, starts = self.clip_indices.locate(indices)
        return self._fetch(episodes, starts, self.span, columns, out)

    def windows(
        self, indices: Indices, columns: Sequence[str] | None = None, out: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        """As `_windows`, behind the transform, which sees all columns; for datasets that stand on this one."""
        if self.transform is None:
            return self._windows(indices, columns, out)
        return stacked(self._transformed(self._cut_windows(indices)), out)

    def slices(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        """As `_fetch`, behind the transform, which sees all columns; for datasets that stand on this one."""
        if self.transform is None:
            return self._fetch(episodes, starts, length, columns, out)
        return stacked(self._transformed(self._cut(episodes, starts, length)), out)

    def _cut_windows(self, indices: Indices) -> list[Window]:
        """`_windows` one by one."""
        return single(self._windows(indices), len(np.asarray(indices)))

    def _cut(self, episodes: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"], length: int) -> list[Window]:
        """`_fetch` one by one."""
        return single(self._fetch(episodes, starts, length), len(episodes))

    def _transformed(self, windows: list[Window]) -> list[Window]:
        return windows if self.transform is None else [self.transform(window) for window in windows]


class Windows(Dataset):
    """Windows of a dataset.

    Args:
        reader: The dataset.
        num_steps: Steps of a window.
        frameskip: Rows from one step to the next.
        transform: Changes the columns of one window.
        keys_to_load: Names of the columns that windows hold; all if None.
        keys_to_cache: Names of columns that are read once, here, and kept in memory.
        keys_to_merge: New columns by name, each of the columns that it joins along their last axis: their names, or a
            regular expression that names begin with.

    Raises:
        UserError: A number is out of range, a column is not there or cannot be joined, or every episode is shorter
            than a window.

    Source: reference, `data/dataset.py`.
    """

    def __init__(
        self,
        reader: Reader,
        num_steps: int = 1,
        frameskip: int = 1,
        transform: Transform | None = None,
        keys_to_load: Sequence[str] | None = None,
        keys_to_cache: Sequence[str] | None = None,
        keys_to_merge: Mapping[str, Sequence[str] | str] | None = None,
    ):
        check_whole("num_steps", num_steps, 1)
        check_whole("frameskip", frameskip, 1)
        self.reader, self.num_steps, self.frameskip, self.transform = reader, num_steps, frameskip, transform
        self.lengths, self.offsets = reader.lengths, reader.offsets
        self.clip_indices = Clips(np.maximum(self.lengths - self.span + 1, 0))
        if len(self.lengths) and not len(self):
            raise UserError(
                f"{reader.path}: a window of {num_steps} x {frameskip} rows is longer than every episode; the longest "
                f"has {int(self.lengths.max())}"
            )
        names = list(reader.columns) if keys_to_load is None else list(dict.fromkeys(keys_to_load))
        for name in names:
            check_name(f"column of {reader.path}", name, reader.columns)
        if not names:
            raise UserError(f"{reader.path}: has no columns to load")
        columns = {name: reader.columns[name] for name in names}
        self._merged: dict[str, list[str]] = {}
        for target, source in (keys_to_merge or {}).items():
            self._merged[target] = self._sources(target, source)
            columns[target] = self._joined_column(target)
        self.columns = columns
        self._kept = Kept(reader)
        self._cache: dict[str, np.ndarray] = {}
        for name in keys_to_cache or ():
            check_name(f"column of {reader.path}", name, self.columns)
            self._cache[name] = self.get_col_data(name)

    @property
    def episode_column_names(self) -> list[str]:
        """Names of the values that belong to whole episodes."""
        return list(self.reader.episode_columns)

    def get_episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes by name, one for each that is asked for; of all episodes if None."""
        return self.reader.episode_data(episodes)

    def _sources(self, target: str, source: Sequence[str] | str) -> list[str]:
        stored = self.reader.columns
        names = [name for name in stored if re.match(source, name)] if isinstance(source, str) else list(source)
        if not names:
            raise UserError(f"{self.reader.path}: no column is called {source!r}, to be joined to {target}")
        for name in names:
            check_name(f"column of {self.reader.path}", name, stored)
        return names

    def _joined_column(self, target: str) -> Column:
        parts = [self.reader.columns[name] for name in self._merged[target]]
        shapes = [part.shape or (1,) for part in parts]
        if len({shape[:-1] for shape in shapes}) > 1 or any(part.kind == "text" for part in parts):
            said = ", ".join(f"{name} {part.shape}" for name, part in zip(self._merged[target], parts, strict=True))
            raise UserError(f"{self.reader.path}: the columns {said} cannot be joined to {target}")
        shape = (*shapes[0][:-1], sum(shape[-1] for shape in shapes))
        return Column("number", shape, np.result_type(*(part.dtype for part in parts)))

    def _read(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> dict[str, np.ndarray]:
        return self._filled(columns, rows, {})

    def _fetch(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        names = list(self.columns if columns is None else columns)
        firsts = (self.offsets[episodes] + starts)[:, None]
        strided = [name for name in names if name != ACTION and self.columns[name].kind != "text"]
        groups = (
            (strided, firsts + np.arange(0, length, self.frameskip)),
            ([ACTION] if ACTION in names else [], firsts + np.arange(length)),
            ([name for name in names if self.columns[name].kind == "text" and name != ACTION], firsts),
        )
        found: dict[str, np.ndarray] = {}
        for group, rows in groups:
            found |= self._gathered(group, rows, out or {})
        return {name: found[name] for name in names}

    def _gathered(self, names: Sequence[str], rows: Int64[np.ndarray, "B T"], out: Arrays) -> dict[str, np.ndarray]:
        """Rows of windows, each read once."""
        if not names:
            return {}
        if self.columns[names[0]].kind == "text":
            read = self._filled(names, rows[:, 0], {})
            for name in set(names) & set(out):
                out[name][...] = read[name]
            return {name: out.get(name, read[name]) for name in names}
        arrays = {name: out[name] if name in out else empty_rows(self.columns[name], rows.shape) for name in names}
        memory = {name: height_first(self.columns[name], array) for name, array in arrays.items()}
        flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in memory.items() if array.flags.c_contiguous}
        unique, places = np.unique(rows, return_inverse=True)
        if len(unique) >= _MOSTLY * rows.size:
            read = self._filled(names, rows.reshape(-1), flat)
            for name in set(names) - set(flat):
                memory[name][...] = read[name].reshape(memory[name].shape)
        else:
            read = self._filled(names, unique, {})
            for name in names:
                if name in flat:
                    take(read[name], places.reshape(-1), flat[name])
                else:
                    memory[name][...] = read[name][places.reshape(rows.shape)]
        return arrays

    def _filled(self, names: Sequence[str], rows: Int64[np.ndarray, " R"], out: Arrays) -> dict[str, np.ndarray]:
        """Rows of stored, cached and joined columns, in arrays of `out` where it has them."""
        parts = {name: self._merged.get(name, [name]) for name in names if name not in self._cache}
        wanted = list(dict.fromkeys(part for each in parts.values() for part in each))
        kept = {name: column for name in wanted if (column := self._kept.column(name, len(rows))) is not None}
        direct = {name: out[name] for name in parts if name in out and name not in self._merged}
        read = {name: np.take(array, rows, axis=0, out=direct.get(name), mode="clip") for name, array in kept.items()}
        stored = [name for name in wanted if name not in kept]
        read |= self.reader.read(stored, rows, direct) if stored else {}
        found: dict[str, np.ndarray] = {}
        for name in names:
            if name in self._cache:
                found[name] = np.take(self._cache[name], rows, axis=0, out=out.get(name), mode="clip")
            elif name in self._merged:
                shapes = [self.reader.columns[part].shape or (1,) for part in parts[name]]
                pieces = [
                    read[part].reshape(len(rows), *shape) for part, shape in zip(parts[name], shapes, strict=True)
                ]
                found[name] = np.concatenate(pieces, axis=-1, out=out.get(name))
            else:
                found[name] = read[name]
        return found
