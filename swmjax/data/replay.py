"""A replay buffer in memory: written like a dataset, read as windows, and the oldest episodes go first."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError, check_whole
from swmjax.data.clips import ACTION, Clips
from swmjax.data.formats import get_format
from swmjax.data.formats.base import EPISODE_DATA, Column, Episode, Mode
from swmjax.data.windows import Dataset, Transform

Sampler = Callable[[int, "ReplayBuffer", int, int], Any]
"""Told the step, the buffer, the size of a batch and the steps of a clip; gives that many numbers of clips."""
_CLASSIC = ("pixels", ACTION, "reward", "terminated", "truncated")


class ReplayBuffer(Dataset):
    """The last steps of a stream of episodes, in memory.

    Where an episode does not fit any more, the oldest ones go, each as a whole. Clips lie within one episode. Columns,
    and the shapes of their rows, are those of the first episode. Unlike a dataset on disk it gives images as they were
    written, height first. It takes episodes as a writer does, and may stand in the place of one.

    Args:
        max_steps: Rows that it holds at most.
        history_len: Steps of a clip.
        frameskip: Rows from one step to the next; actions stay dense, [history_len, frameskip * A].
        sampler: Chooses what `sample` returns, by the numbers of the clips; uniformly if None.
        transform: Changes the columns of one clip; `sample` does not apply it.
        key_filter: Picks columns of an episode before it is stored.
        seed: Of the uniform choice; drawn by the system if None.

    Raises:
        UserError: A number is out of range.

    Source: reference, `data/buffer.py`.
    """

    def __init__(
        self,
        max_steps: int,
        history_len: int = 1,
        frameskip: int = 1,
        sampler: Sampler | None = None,
        transform: Transform | None = None,
        key_filter: Callable[[Episode], Episode] | None = None,
        seed: int | None = None,
    ):
        for name, value in (("max_steps", max_steps), ("history_len", history_len), ("frameskip", frameskip)):
            check_whole(f"ReplayBuffer.{name}", value, 1)
        self.max_steps, self.history_len, self.frameskip = max_steps, history_len, frameskip
        self.num_steps, self.transform, self.key_filter = history_len, transform, key_filter
        self.sampler = sampler or self._uniform
        self.columns = {}
        self._random = np.random.default_rng(seed)
        self._rows: dict[str, np.ndarray] = {}
        self._first = 0
        """Where in them the oldest row is."""
        self._episodes: collections.deque[tuple[int, dict[str, Any]]] = collections.deque()
        self._step = 0

    def __enter__(self) -> ReplayBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __repr__(self) -> str:
        return (
            f"ReplayBuffer(episodes={self.num_episodes}, steps={self.num_steps_stored}/{self.max_steps}, "
            f"history_len={self.history_len}, frameskip={self.frameskip}, columns={self.column_names})"
        )

    @cached_property
    def lengths(self) -> Int64[np.ndarray, " E"]:  # type: ignore[override]
        """Rows of each episode, the oldest first."""
        return np.fromiter((length for length, _ in self._episodes), np.int64, len(self._episodes))

    @cached_property
    def offsets(self) -> Int64[np.ndarray, " E"]:  # type: ignore[override]
        """The row at which each episode begins, counted from the oldest one."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def clip_indices(self) -> Clips:  # type: ignore[override]
        """Episode and first row of each clip."""
        return self._clips(self.history_len)

    @property
    def num_episodes(self) -> int:
        """Episodes that it holds."""
        return len(self._episodes)

    @property
    def num_steps_stored(self) -> int:
        """Rows that it holds."""
        return int(self.lengths.sum())

    def num_valid_ends(self, history_len: int | None = None) -> int:
        """Clips of so many steps, the buffer's own number if None; a sampler gives numbers below this."""
        return len(self._clips(self.history_len if history_len is None else history_len))

    def write_episodes(self, episodes: Iterable[Episode]) -> None:
        """Add episodes, one after the other."""
        for episode in episodes:
            self.write_episode(episode)

    def write_episode(self, episode: Episode) -> None:
        """Add an episode; one without rows is none.

        Args:
            episode: Arrays or sequences of the same length, by column; values of the whole episode, which come back
                with it, may stand under `_episode_data`.

        Raises:
            UserError: The columns differ in length or are not those of the first episode, or there are more rows than
                the buffer holds.
        """
        values = dict(episode.get(EPISODE_DATA, {}))
        columns = {name: column for name, column in episode.items() if name != EPISODE_DATA}
        arrays = {name: _rows(column) for name, column in (self.key_filter or dict)(columns).items()}
        length = _length(arrays)
        if length > self.max_steps:
            raise UserError(f"the episode has {length} rows; the buffer holds max_steps ({self.max_steps}) at most")
        if not length:
            return
        if not self.columns:
            self.columns = {name: _column(array) for name, array in arrays.items()}
            self._rows = {name: np.empty((self.max_steps, *a.shape[1:]), a.dtype) for name, a in arrays.items()}
        self._check(arrays)
        self._evict(length)
        places = self._places(self.num_steps_stored + np.arange(length))
        for name, array in arrays.items():
            self._rows[name][places] = array
        self._episodes.append((length, values))
        self._changed()

    def sample(self, batch_size: int, history_len: int | None = None, step: int | None = None) -> dict[str, np.ndarray]:
        """Clips that the sampler chooses, as they are stored.

        Args:
            batch_size: How many.
            history_len: Steps of a clip; the buffer's own number if None.
            step: What the sampler is told; if None, how often this was called without saying it.

        Returns:
            Arrays [batch_size, history_len, ...] by name; actions [batch_size, history_len, frameskip * A].

        Raises:
            UserError: A number is out of range, or the sampler gives something else than `batch_size` numbers.
            IndexError: The sampler gives the number of no clip.
            RuntimeError: There is no clip to choose.
        """
        check_whole("batch_size", batch_size, 1)
        steps = self.history_len if history_len is None else history_len
        check_whole("history_len", steps, 1)
        if step is None:
            step, self._step = self._step, self._step + 1
        clips = self._clips(steps)
        chosen = np.asarray(self.sampler(step, self, batch_size, steps))
        if chosen.shape != (batch_size,) or chosen.dtype.kind not in "iu":
            raise UserError(
                f"the sampler must give {batch_size} whole numbers, got {chosen.dtype} {list(chosen.shape)}"
            )
        episodes, starts = clips.locate(chosen)
        found = self._gather(episodes, starts, steps * self.frameskip, list(self.columns))
        if ACTION in found:
            found[ACTION] = found[ACTION].reshape(batch_size, steps, -1)
        return found

    def _uniform(self, step: int, buffer: ReplayBuffer, batch_size: int, history_len: int) -> np.ndarray:
        count = self.num_valid_ends(history_len)
        if not count:
            raise RuntimeError(f"there is no clip of {history_len} steps in {self}")
        return self._random.integers(0, count, batch_size)

    def episodes(self) -> Iterable[Episode]:
        """What it holds, as episodes that every writer takes, the oldest first."""
        for (length, values), offset in zip(tuple(self._episodes), self.offsets.tolist(), strict=True):
            columns = self._read(list(self.columns), np.arange(offset, offset + length))
            yield {**columns, EPISODE_DATA: values} if values else columns

    def dump(self, path: str | Path, format: str = "lance", mode: Mode = "overwrite", **options: Any) -> None:
        """Write what it holds to a dataset.

        Args:
            path: The dataset.
            format: Name of its format; values of whole episodes are left out by one that has no place for them.
            mode: What to do where there is one.
            **options: Of the format's writer.

        Raises:
            UserError: There is no such format, or it cannot hold the columns.
        """
        kind = get_format(format)
        with kind.writer(path, mode, **options) as writer:
            for episode in self.episodes():
                if not kind.supports_episode_data:
                    episode = {name: column for name, column in episode.items() if name != EPISODE_DATA}
                writer.write_episode(episode)

    def clear(self) -> None:
        """Forget all episodes; the columns, and the memory that was taken, stay."""
        self._episodes.clear()
        self._changed()

    @property
    def episode_column_names(self) -> list[str]:
        """Names of the values that belong to whole episodes."""
        return list(dict.fromkeys(name for _, values in self._episodes for name in values))

    def get_episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes by name, one for each that is asked for, None where there is none."""
        wanted = range(self.num_episodes) if episodes is None else episodes
        return {name: [self._episodes[i][1].get(name) for i in wanted] for name in self.episode_column_names}

    def _empty(self, size: int) -> dict[str, np.ndarray]:
        arrays = {}
        for name, rows in self._rows.items():
            leading = (size, self.span if name == ACTION else self.num_steps)
            text = self.columns[name].kind == "text"
            arrays[name] = np.empty(leading[:1] if text else (*leading, *rows.shape[1:]), rows.dtype)
        return arrays

    def _fetch(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        names = list(self.columns if columns is None else columns)
        texts = [name for name in names if self.columns[name].kind == "text"]
        found = self._gather(episodes, starts, length, [name for name in names if name not in texts], out)
        for name, array in self._gather(episodes, starts, 1, texts).items():
            found[name] = array[:, 0]
            if out is not None and name in out:
                out[name][:] = found[name]
                found[name] = out[name]
        return {name: found[name] for name in names}

    def _gather(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """As `_fetch`, with all texts."""
        firsts = (self.offsets[episodes] + starts)[:, None]
        found = {}
        for name in columns:
            places = self._places(firsts + np.arange(0, length, 1 if name == ACTION else self.frameskip))
            found[name] = np.take(self._rows[name], places, axis=0, out=(out or {}).get(name), mode="clip")
        return found

    def _read(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> dict[str, np.ndarray]:
        places = self._places(rows)
        return {name: self._rows[name][places] for name in columns}

    def _places(self, rows: Int64[np.ndarray, "..."]) -> Int64[np.ndarray, "..."]:
        """Where rows are, counted from the oldest one."""
        return (self._first + rows) % self.max_steps

    def _clips(self, history_len: int) -> Clips:
        return Clips(np.maximum(self.lengths - history_len * self.frameskip + 1, 0))

    def _evict(self, length: int) -> None:
        """Make room for so many rows."""
        more = self.num_steps_stored + length - self.max_steps
        while more > 0:
            gone, _ = self._episodes.popleft()
            self._first = (self._first + gone) % self.max_steps
            more -= gone
        self._changed()

    def _changed(self) -> None:
        for name in ("lengths", "offsets", "clip_indices"):
            self.__dict__.pop(name, None)

    def _check(self, arrays: Mapping[str, np.ndarray]) -> None:
        missing, more = sorted(set(self.columns) - set(arrays)), sorted(set(arrays) - set(self.columns))
        if missing or more:
            raise UserError(f"the episode does not have the buffer's columns: missing {missing}, unexpected {more}")
        for name, array in arrays.items():
            stored = self._rows[name]
            if array.shape[1:] != stored.shape[1:] or not np.can_cast(array.dtype, stored.dtype, "same_kind"):
                raise UserError(
                    f"{name} holds {stored.dtype} {list(stored.shape[1:])} a row, got {array.dtype} "
                    f"{list(array.shape[1:])}"
                )


def classic_filter(episode: Episode) -> Episode:
    """The columns of a classic replay buffer: `pixels`, `action`, `reward`, `terminated` and `truncated`."""
    return {name: column for name, column in episode.items() if name in _CLASSIC}


def _rows(column: Any) -> np.ndarray:
    """A column as an array; texts as objects, since an array of theirs would cut longer ones off."""
    array = np.asarray(column)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind not in "biuf" and not all(isinstance(one, str) for one in array.flat):
        raise UserError(f"a column of an episode must hold numbers, or text, got {array.dtype}")
    return array


def _length(arrays: Mapping[str, np.ndarray]) -> int:
    """Rows of an episode, 0 without columns."""
    for name, array in arrays.items():
        if not array.ndim:
            raise UserError(f"{name} is a single value; the columns of an episode hold one for every row")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"the columns of an episode must have the same number of rows, got {lengths}")
    return next(iter(lengths.values()), 0)


def _column(array: np.ndarray) -> Column:
    if array.dtype == object:
        return Column("text", (), array.dtype)
    image = array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] in (1, 3)
    return Column("image" if image else "number", array.shape[1:], array.dtype)
