"""Datasets made of others: side by side, or one after the other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.clips import Arrays, Clips, Indices, Window, single
from swmjax.data.formats.base import Column
from swmjax.data.windows import Dataset, Transform


class _Parts(Dataset):
    """What datasets of several parts have in common."""

    def __init__(self, datasets: Sequence[Dataset], transform: Transform | None):
        if not datasets:
            raise UserError("at least one dataset is needed, got none")
        for name in ("num_steps", "frameskip"):
            found = [getattr(part, name) for part in datasets]
            if len(set(found)) > 1:
                raise UserError(f"datasets that belong together have the same {name}, got {found}")
        self.datasets = list(datasets)
        self.num_steps, self.frameskip = datasets[0].num_steps, datasets[0].frameskip
        self.transform = transform

    @property
    def transforms(self) -> bool:
        """Whether windows are transformed, here or in a dataset that this one stands on."""
        return self.transform is not None or any(part.transforms for part in self.datasets)

    @property
    def episode_column_names(self) -> list[str]:
        """Names of the values that belong to whole episodes."""
        return list(dict.fromkeys(name for part in self.datasets for name in part.episode_column_names))

    def seeded(self, *key: int) -> Dataset:
        """This dataset with what its parts draw at random made of a key."""
        made = copy.copy(self)
        made.datasets = [part.seeded(*key, i) for i, part in enumerate(self.datasets)]
        return made


class MergeDataset(_Parts):
    """Columns of several datasets of the same episodes, side by side.

    Args:
        datasets: They have the same lengths of episodes.
        keys_from_dataset: Names of the columns that each contributes, those that a transform makes included; if None,
            each contributes the columns that none before it has.
        transform: Changes the columns of one window, behind the transforms of the datasets.

    Raises:
        UserError: There is none, they are not of the same episodes, or a column is not there.

    Source: reference, `data/dataset.py`.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        keys_from_dataset: Sequence[Sequence[str]] | None = None,
        transform: Transform | None = None,
    ):
        super().__init__(datasets, transform)
        first = datasets[0]
        for i, part in enumerate(datasets):
            if not np.array_equal(part.lengths, first.lengths) or len(part) != len(first):
                raise UserError(
                    f"datasets side by side have the same episodes; number {i} has {len(part.lengths)} episodes, "
                    f"{int(part.lengths.sum())} rows and {len(part)} windows, the first {len(first.lengths)}, "
                    f"{int(first.lengths.sum())} and {len(first)}"
                )
        self.lengths, self.offsets, self.clip_indices = first.lengths, first.offsets, first.clip_indices
        self.keys_map = self._keys(keys_from_dataset)
        pairs = zip(self.datasets, self.keys_map, strict=True)
        self.columns = {key: part.columns[key] for part, keys in pairs for key in keys if key in part.columns}

    def _keys(self, given: Sequence[Sequence[str]] | None) -> list[list[str]]:
        if given is None:
            seen: set[str] = set()
            keys = []
            for part in self.datasets:
                keys.append([name for name in part.column_names if name not in seen])
                seen.update(part.column_names)
            return keys
        if len(given) != len(self.datasets):
            raise UserError(f"keys_from_dataset has {len(given)} lists, for {len(self.datasets)} datasets")
        for i, (part, names) in enumerate(zip(self.datasets, given, strict=True)):
            missing = [name for name in names if name not in part.window_columns]
            if missing and not part.transforms:
                known = ", ".join(part.window_columns)
                raise UserError(f"dataset {i} has no column {', '.join(missing)}; it has {known}")
        return [list(names) for names in given]

    def _joined(
        self, fetch: Callable[[Dataset, list[str]], Arrays], wanted: set[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Columns of all datasets; `fetch` gets those of one from it, and perhaps others that a transform makes."""
        found: dict[str, np.ndarray] = {}
        for part, names in zip(self.datasets, self.keys_map, strict=True):
            keys = [name for name in names if wanted is None or name in wanted]
            if keys:
                arrays = fetch(part, [key for key in keys if key in part.columns])
                found |= {key: arrays[key] for key in keys if key in arrays}
        return found

    def _fetch(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        wanted = None if columns is None else set(columns)
        return self._joined(lambda part, keys: part.slices(episodes, starts, length, keys, out), wanted)

    def _windows(
        self, indices: Indices, columns: Sequence[str] | None = None, out: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        wanted = None if columns is None else set(columns)
        return self._joined(lambda part, keys: part.windows(indices, keys, out), wanted)

    def _empty(self, size: int) -> dict[str, np.ndarray]:
        return self._joined(lambda part, keys: part._empty(size))

    def _read(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> dict[str, np.ndarray]:
        found = self._joined(lambda part, keys: part._read(keys, rows), set(columns))
        return {name: found[name] for name in columns}

    def get_episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes by name; the first dataset that has a name gives it."""
        found: dict[str, list[Any]] = {}
        for part in self.datasets:
            found = part.get_episode_data(episodes) | found
        return {name: found[name] for name in self.episode_column_names}


class ConcatDataset(_Parts):
    """Episodes of several datasets, one after the other.

    Args:
        datasets: They may have different columns; a batch has windows of the same columns and shapes only.
        transform: Changes the columns of one window, behind the transforms of the datasets.

    Raises:
        UserError: There is none, or their windows have another length.

    Source: reference, `data/dataset.py`.
    """

    def __init__(self, datasets: Sequence[Dataset], transform: Transform | None = None):
        super().__init__(datasets, transform)
        self.lengths = np.concatenate([part.lengths for part in datasets])
        self.clip_indices = Clips(np.concatenate([part.clip_indices.counts for part in datasets]))
        rows = np.cumsum([0, *(int(part.lengths.sum()) for part in datasets)])
        self.offsets = np.concatenate([part.offsets + first for part, first in zip(datasets, rows, strict=False)])
        self._rows = rows
        self._episodes = np.cumsum([0, *(len(part.lengths) for part in datasets)])
        self._windows_before = np.cumsum([0, *map(len, datasets)])
        names = dict.fromkeys(name for part in datasets for name in part.column_names)
        self.columns = {
            name: _column_of_all([p.columns[name] for p in datasets if name in p.columns]) for name in names
        }

    def _shared_out(
        self, numbers: np.ndarray, begins: np.ndarray
    ) -> list[tuple[Dataset, Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]]:
        """The parts that numbers fall into, each with their places among the numbers and their numbers in it."""
        owners = np.searchsorted(begins, numbers, side="right") - 1
        # Parts without anything begin where the next one does; the last that begins there is the owner.
        shared = []
        for owner in np.unique(owners).tolist():
            places = np.flatnonzero(owners == owner)
            shared.append((self.datasets[owner], places, numbers[places] - begins[owner]))
        return shared

    def _fetch(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        shared = self._shared_out(episodes, self._episodes)
        if len(shared) == 1:
            part, _, local = shared[0]
            return part.slices(local, starts, length, columns, out)
        pieces = [(places, part.slices(local, starts[places], length, columns)) for part, places, local in shared]
        return _put_together(len(episodes), pieces, out)

    def _windows(
        self, indices: Indices, columns: Sequence[str] | None = None, out: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        numbers = self.clip_indices.whole(indices)
        shared = self._shared_out(numbers, self._windows_before)
        if len(shared) == 1:
            part, _, local = shared[0]
            return part.windows(local, columns, out)
        return _put_together(len(numbers), [(at, part.windows(local, columns)) for part, at, local in shared], out)

    def _cut_windows(self, indices: Indices) -> list[Window]:
        numbers = self.clip_indices.whole(indices)
        windows: list[Window] = [{} for _ in numbers]
        for part, places, local in self._shared_out(numbers, self._windows_before):
            for place, window in zip(places.tolist(), single(part.windows(local), len(local)), strict=True):
                windows[place] = window
        return windows

    def _cut(self, episodes: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"], length: int) -> list[Window]:
        windows: list[Window] = [{} for _ in episodes]
        for part, places, local in self._shared_out(episodes, self._episodes):
            cut = single(part.slices(local, starts[places], length), len(local))
            for place, window in zip(places.tolist(), cut, strict=True):
                windows[place] = window
        return windows

    def _read(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> dict[str, np.ndarray]:
        pieces = [(places, part._read(columns, local)) for part, places, local in self._shared_out(rows, self._rows)]
        return _put_together(len(rows), pieces)

    def _row_columns(self) -> list[str]:
        return [name for name in self.columns if all(name in part._row_columns() for part in self.datasets)]

    def get_col_data(self, column: str) -> np.ndarray:
        """All rows of a column in the datasets that have it, one after the other; see `Dataset`."""
        having = [part for part in self.datasets if column in part.columns]
        if not having:
            return super().get_col_data(column)
        return np.concatenate([part.get_col_data(column) for part in having])

    def get_episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes by name; None for episodes of a dataset that has no such value."""
        numbers = np.arange(len(self.lengths)) if episodes is None else np.asarray(episodes, np.int64).reshape(-1)
        found: dict[str, list[Any]] = {name: [None] * len(numbers) for name in self.episode_column_names}
        for part, places, local in self._shared_out(numbers, self._episodes):
            for name, values in part.get_episode_data(local.tolist()).items():
                for place, value in zip(places.tolist(), values, strict=True):
                    found[name][place] = value
        return found


def _column_of_all(columns: Sequence[Column]) -> Column:
    """What a column holds in several datasets: numbers of the widest kind."""
    first = columns[0]
    if any(column.kind == "text" for column in columns):
        return first
    return Column(first.kind, first.shape, np.result_type(*(column.dtype for column in columns)))


def _put_together(
    size: int, pieces: Sequence[tuple[np.ndarray, Arrays]], out: Arrays | None = None
) -> dict[str, np.ndarray]:
    """Arrays [size, ...] of arrays that hold some of their rows each."""
    if not pieces:
        return {}
    names = list(pieces[0][1])
    for _, arrays in pieces:
        if set(arrays) != set(names):
            raise UserError(f"datasets one after the other have the columns {names} and {list(arrays)} in one batch")
    whole: dict[str, np.ndarray] = {}
    for name in names:
        parts = [arrays[name] for _, arrays in pieces]
        if len({part.shape[1:] for part in parts}) > 1:
            shapes = ", ".join(str(part.shape[1:]) for part in parts)
            raise UserError(f"datasets one after the other have {name} of the shapes {shapes} in one batch")
        if out is not None and name in out:
            whole[name] = out[name]
        else:
            # In the memory layout of the first: pictures are views that stand channels first.
            whole[name] = np.empty_like(
                np.broadcast_to(parts[0][:1], (size, *parts[0].shape[1:])), np.result_type(*parts)
            )
        for (places, _), part in zip(pieces, parts, strict=True):
            whole[name][places] = part
    return whole
