"""The contract of formats of datasets: how one is recognised, how rows are read, and how episodes are written.

A new format is one file with a class under `Format`, its `Reader` and its `Writer`, and one line in `FORMATS`. Windows,
caches, transforms, merging and loaders stand on `Reader` and know no format.
"""

from __future__ import annotations

import abc
import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError, check_name

Mode = Literal["error", "append", "overwrite"]
MODES: tuple[str, ...] = ("error", "append", "overwrite")
"""What a writer does where there is a dataset already."""
EPISODE, STEP, SEED, ID = "episode_idx", "step_idx", "seed", "id"
"""Columns with a meaning: numbers of the episode and of the row in it, which writers fill by themselves; the seed that
an episode began from, and a random number that tells it from all others."""
NUMBERS = (EPISODE, STEP, "ep_idx")
"""Columns that number episodes or rows. In Lance they are part of the layout; elsewhere they are stored as any others,
so that readers list them, as the reference does. What copies episodes leaves them out: writers fill them anew."""
EPISODE_DATA = "_episode_data"
"""The key of an episode under which values of the whole episode stand, by name."""
Episode = Mapping[str, Any]
"""Columns by name, arrays or sequences with the same number of rows; a single value is that of every row. Values that
belong to the whole episode may stand by name under `EPISODE_DATA`."""


def split_episode_data(episode: Episode) -> tuple[Episode, Mapping[str, Any]]:
    """An episode's columns, and its values of the whole episode; the episode itself is not changed."""
    if EPISODE_DATA not in episode:
        return episode, {}
    columns = {name: column for name, column in episode.items() if name != EPISODE_DATA}
    return columns, dict(episode[EPISODE_DATA])


@dataclass(frozen=True)
class Column:
    """What a column of a dataset holds.

    Attributes:
        kind: `image` for pictures, `number` for numbers and truth values, `text` for one text a row.
        shape: Of one row: [height, width, channels] of an image, () of a text. An image has 3 channels, or 1 where that
            is how it is stored.
        dtype: Of the arrays that are read: uint8 of an image, object of a text.
    """

    kind: Literal["image", "number", "text"]
    shape: tuple[int, ...]
    dtype: np.dtype


class Reader(abc.ABC):
    """Reads rows of one dataset.

    Making one opens the dataset and reads what says how it is laid out, no more. It may be pickled, and used from many
    threads; a process that unpickles it opens the dataset by itself.

    Attributes:
        path: The dataset, a path or an address.
        columns: Columns by name, in their order; without those that a layout itself numbers rows and episodes by.
        lengths: Rows of each episode; episodes follow one another in the order of their numbers.
    """

    path: str
    columns: Mapping[str, Column]
    lengths: Int64[np.ndarray, " E"]

    @cached_property
    def offsets(self) -> Int64[np.ndarray, " E"]:
        """The row at which each episode begins."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)[:-1]])[: len(self.lengths)]

    @property
    def rows(self) -> int:
        """Rows of all episodes."""
        return int(self.lengths.sum())

    def fingerprint(self) -> str:
        """A text that is another one when the dataset is: of its lengths and columns, and of its files.

        What a remote dataset holds may change without it, unless the format knows better.
        """
        said = [self.path, self.lengths.tolist(), [(name, str(column)) for name, column in self.columns.items()]]
        return hashlib.sha256(json.dumps([*said, self._files_now()]).encode()).hexdigest()

    def _files_now(self) -> list[Any]:
        """What tells the files from what they were, or will be; none of a remote dataset."""
        path = Path(self.path)
        files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
        return [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    @abc.abstractmethod
    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns; nothing else is fetched or decoded.

        Args:
            columns: Names among `columns`.
            rows: Numbers of rows from 0 on, in any order, repeated as asked.
            out: Arrays [R, ...] by name that are filled instead of made anew, for any of the columns.

        Returns:
            Arrays [R, *shape] by name, in the order of `rows`; images are RGB or grey, height first.

        Raises:
            UserError: A file is damaged; the message says which, and at which row.
        """

    def copied(self, column: str, rows: Int64[np.ndarray, " R"]) -> Any:
        """Rows of a column for a writer, in the form in which least is lost on the way.

        Args:
            column: One of `columns`.
            rows: Numbers of rows, at least one.

        Returns:
            An array [R, ...], or what NumPy takes for one and a writer may know to keep.
        """
        return self.read([column], rows)[column]

    def empty(
        self, columns: Sequence[str], count: int, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """What `read` fills.

        Args:
            columns: Names among `columns`.
            count: Rows.
            out: Arrays that are taken instead of new ones.

        Raises:
            UserError: There is no such column, or an array of `out` does not fit its rows.
        """
        made = {}
        for name in columns:
            check_name(f"column of {self.path}", name, self.columns)
            shape, dtype = (count, *self.columns[name].shape), self.columns[name].dtype
            array = np.empty(shape, dtype) if out is None or name not in out else out[name]
            if array.shape != shape or array.dtype != dtype:
                raise UserError(
                    f"{self.path}: {name} is {dtype} {list(shape)}, and the array for it {array.dtype} "
                    f"{list(array.shape)}"
                )
            made[name] = array
        return made

    def locate(self, rows: Int64[np.ndarray, " R"]) -> tuple[Int64[np.ndarray, " R"], Int64[np.ndarray, " R"]]:
        """Episodes of rows, and where in them they are.

        Raises:
            IndexError: There is no such row.
        """
        if len(rows) and (rows.min() < 0 or rows.max() >= self.rows):
            raise IndexError(f"{self.path}: has {self.rows} rows, got numbers from {rows.min()} to {rows.max()}")
        episodes = np.searchsorted(self.offsets, rows, side="right") - 1
        return episodes, rows - self.offsets[episodes]

    @property
    def episode_columns(self) -> tuple[str, ...]:
        """Names of the values that belong to whole episodes."""
        return ()

    def episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes.

        Args:
            episodes: Numbers of episodes, in any order, repeated as asked; all of them if None.

        Returns:
            A value for each of them, by name.
        """
        return {}


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

    def write_episodes(self, episodes: Iterable[Episode]) -> None:
        """Add episodes, one after the other; what was written before an error among them stays."""
        for episode in episodes:
            self.write_episode(episode)

    @abc.abstractmethod
    def settle(self) -> None:
        """Commit what waits if the last commit was long ago; for pauses of unknown length, such as between batches."""


@dataclass(frozen=True)
class Version:
    """What a dataset was at one of its commits.

    Attributes:
        number: Of the version.
        time: When it was committed.
        episodes: Episodes in it.
        rows: Rows in it.
    """

    number: int
    time: datetime.datetime
    episodes: int
    rows: int


class Format(abc.ABC):
    """A format of datasets; its docstring's first line is its summary."""

    name: ClassVar[str] = ""
    place: ClassVar[str] = ""
    """What its paths look like, for messages."""
    suffix: ClassVar[str] = ""
    """What their names end in; nothing where they may end in anything."""
    extra: ClassVar[str] = ""
    """What to install for it: `pip install 'swmjax[EXTRA]'`."""
    supports_episode_data: ClassVar[bool] = False
    """Whether it holds values of whole episodes."""
    lossless: ClassVar[bool] = False
    """Whether it keeps images as they are."""
    supports_versions: ClassVar[bool] = False
    """Whether a dataset can be what it was at an earlier commit."""

    @classmethod
    @abc.abstractmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether a path, or an address, is that of a dataset in this format, be there one or not."""

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        """The files and folders that make up a dataset on this machine, as far as they are there."""
        return [path] if path.exists() else []

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """UserError if options are left that no reader, or writer, of the format knows."""
        if options:
            raise UserError(f"the format {cls.name} knows no option {', '.join(map(repr, options))}")

    @classmethod
    def reader(cls, path: str | Path, **options: Any) -> Reader:
        """A reader.

        Args:
            path: The dataset.
            **options: Of the format; its own override names them.

        Raises:
            UserError: There is no such dataset, it is damaged, or it holds what this format does not have.
            MissingExtraError: A package is not installed; the message says how to install it.
        """
        raise UserError(f"{path}: datasets in the format {cls.name} can only be written")

    @classmethod
    def writer(cls, path: str | Path, mode: Mode = "error", **options: Any) -> Writer:
        """A writer; nothing is written before it is entered and given an episode.

        Args:
            path: The dataset.
            mode: What to do where there is one.
            **options: Of the format; its own override names them.

        Raises:
            UserError: There is no dataset of this layout to append to.
            FileExistsError: There is something already, and the mode is `error`.
            MissingExtraError: A package is not installed; the message says how to install it.
        """
        raise UserError(f"{path}: datasets in the format {cls.name} can only be read")

    @classmethod
    def record(cls, path: Path) -> dict[str, Any] | None:
        """What `Writer.remember` was told last; None where there is no dataset, or none that says it."""
        return None

    @classmethod
    def versions(cls, path: Path) -> list[Version]:
        """What a dataset was at each of its commits, the oldest first.

        Raises:
            UserError: The format keeps no versions, or there is no such dataset.
        """
        raise UserError(f"{path}: datasets in the format {cls.name} keep no versions")

    @classmethod
    def restore(cls, path: Path, version: int) -> None:
        """Have a dataset be what it was at a commit; what came after it stays among its versions.

        Raises:
            UserError: The format keeps no versions, there is no such dataset or version, or another process writes to
                it.
        """
        raise UserError(f"{path}: datasets in the format {cls.name} keep no versions")
