"""The contract of formats of datasets: how one is recognised, and how episodes are written into it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal

import numpy as np

Mode = Literal["error", "append", "overwrite"]
MODES: tuple[str, ...] = ("error", "append", "overwrite")
"""What a writer does where there is a dataset already."""
EPISODE, STEP, SEED, ID = "episode_idx", "step_idx", "seed", "id"
"""Columns with a meaning: numbers of the episode and of the row in it, which writers fill by themselves; the seed that
an episode began from, and a random number that tells it from all others."""
Episode = Mapping[str, np.ndarray | Sequence[Any] | str | int | float]
"""Columns by name, with the same number of rows; a single value is that of every row."""


class Writer(abc.ABC):
    """Writes episodes into one dataset, as a context manager.

    What is written is committed in groups, each whole or not at all: the dataset can be read at any time, and a process
    that dies loses the last group at most. A new dataset appears with its first group, and one that is replaced stays
    until then. An error within the block leaves what is committed.

    Attributes:
        path: The dataset.
        episodes: Episodes in it, those that wait for their group included; the next one gets this number.
        committed: Episodes in it that no kill can take away.
        columns: Names of its columns, those that writers fill by themselves included; none before there are any.
        seeds: Seeds that its episodes began from, when the writer was made; None if it does not say them.
    """

    path: Path
    episodes: int
    committed: int
    columns: tuple[str, ...]
    seeds: np.ndarray | None

    @abc.abstractmethod
    def __enter__(self) -> Writer:
        """Hold the dataset, so that no other process writes to it.

        Raises:
            UserError: Another process does.
            OSError: Nothing can be written there.
        """

    @abc.abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what waits, unless the block ends in an error."""

    @abc.abstractmethod
    def remember(self, record: Mapping[str, Any]) -> None:
        """Have the dataset hold, from the next group on, how its last episodes are made.

        Args:
            record: What JSON has a form for; it takes the place of an older one.
        """

    @abc.abstractmethod
    def check(self, episode: Episode) -> None:
        """Raise `UserError` unless `write_episode` would take such an episode; before any is made."""

    @abc.abstractmethod
    def write_episode(self, episode: Episode) -> None:
        """Add an episode.

        Args:
            episode: Its columns: uint8 images [T, H, W, 1 or 3], numbers or truth values [T, ...], and texts.

        Raises:
            UserError: Its columns are not those of the dataset, or differ in length, kind or size.
            OSError: As the file system says it.
        """

    @abc.abstractmethod
    def settle(self) -> None:
        """Commit what waits if the last commit was long ago; for pauses of unknown length, such as between batches."""


class Format(abc.ABC):
    """A format of datasets."""

    name: ClassVar[str]
    place: ClassVar[str]
    """What its paths look like, for messages."""

    @staticmethod
    @abc.abstractmethod
    def detect(path: Path) -> bool:
        """Whether a path is that of a dataset in this format, be there one or not."""

    @staticmethod
    @abc.abstractmethod
    def writer(path: Path, mode: Mode = "error") -> Writer:
        """A writer; nothing is written before it is entered and given an episode.

        Args:
            path: The dataset.
            mode: What to do where there is one.

        Raises:
            UserError: There is no dataset of this layout to append to.
            FileExistsError: There is something already, and the mode is `error`.
            MissingExtraError: A package is not installed; the message says how to install it.
        """

    @staticmethod
    @abc.abstractmethod
    def record(path: Path) -> dict[str, Any] | None:
        """What `Writer.remember` was told last; None where there is no dataset, or none that says it."""
