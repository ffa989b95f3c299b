"""What writers of columns that are kept as they are share: modes, checks of episodes, and groups."""

from __future__ import annotations

import abc
import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from envs_mjx.checks import UserError, check_choice
from swmjax.data.formats.base import EPISODE, MODES, NUMBERS, STEP, Column, Episode, Mode, Writer, split_episode_data
from swmjax.data.formats.episodes import Columns, check_columns, column_of, columns_of
from swmjax.data.formats.groups import Group
from swmjax.runs.files import disk_errors


class GroupWriter(Writer):
    """Writes episodes in groups; what a format does with them is in the methods that it defines.

    Args:
        path: The dataset.
        mode: `error` for a dataset that must not exist yet, `append`, or `overwrite`.

    Raises:
        UserError: The path or the mode is none, or there is no dataset of this layout to append to.
        FileExistsError: There is something already, and the mode is `error`; or it is no dataset.
    """

    layout: ClassVar[str]
    """Of the format, for messages: "HDF5"."""

    def __init__(self, path: str | Path, mode: Mode = "error"):
        check_choice("mode", mode, MODES, show=str)
        self.path = Path(path)
        self._check_path()
        there = self._is_there()
        if there and mode == "error":
            raise FileExistsError(f"{self.path} exists; append to it or overwrite it, or take another name")
        if there and not self._is_dataset():
            raise FileExistsError(f"{self.path} is no {self.layout} dataset; it is not touched")
        self._new, self._replaces = not there, there and mode == "overwrite"
        self.episodes, self.columns, self.seeds = 0, (), None
        self._schema: dict[str, Column] = {}
        self._record: str | None = None
        if there and mode == "append":
            self._read()
            self.columns = tuple(self._schema)
        self.committed = self.episodes
        self._block: contextlib.ExitStack | None = None

    @abc.abstractmethod
    def _check_path(self) -> None:
        """UserError if no dataset of the format can have such a path."""

    @abc.abstractmethod
    def _is_there(self) -> bool:
        """Whether something is at the path."""

    @abc.abstractmethod
    def _is_dataset(self) -> bool:
        """Whether what is there is a dataset of the format."""

    @abc.abstractmethod
    def _check_name(self, name: str) -> None:
        """UserError if no column can be called so."""

    @abc.abstractmethod
    def _read(self) -> None:
        """Set `_schema`, `episodes` and `seeds` to those of the dataset that is appended to."""

    @abc.abstractmethod
    def _begin(self, block: contextlib.ExitStack) -> None:
        """Hold the dataset until the block ends, and remove what processes that died have left."""

    @abc.abstractmethod
    def _add(self, columns: Columns) -> int:
        """Have an episode wait, those of its columns that number rows included; returns the bytes that it takes."""

    @abc.abstractmethod
    def _commit_group(self) -> None:
        """What waits becomes part of the dataset, all of it or nothing."""

    @abc.abstractmethod
    def _discard(self) -> None:
        """Forget what waits, and remove what was written for it."""

    def _finish(self) -> None:
        """Bring the dataset into the reference's layout, where groups are not; all that waits is committed."""

    def __enter__(self) -> GroupWriter:
        with contextlib.ExitStack() as block:
            self._begin(block)
            self._block = block.pop_all()
        self._group = Group()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        with self._block:
            try:
                if kind is None:
                    self._commit()
                    with disk_errors_of(self.path):
                        self._finish()
            finally:
                self._discard()

    def remember(self, record: Mapping[str, Any]) -> None:
        """Have the dataset hold how its last episodes are made."""
        self._record = json.dumps(record)

    def check(self, episode: Episode) -> None:
        """Raise unless an episode fits into the dataset."""
        self._columns(episode)

    def write_episode(self, episode: Episode) -> None:
        """Add an episode; `Writer` says what it holds."""
        if self._block is None:
            raise UserError(f"episodes are written within `with {type(self).__name__}(...) as writer`")
        columns = self._columns(episode)
        length = len(next(iter(columns.values())))
        if not self._schema:
            self._schema = {name: column_of(column) for name, column in columns.items()}
            self._schema |= dict.fromkeys((EPISODE, STEP), Column("number", (), np.dtype(np.int64)))
            self.columns = tuple(self._schema)
        numbers = {name: np.full(length, self.episodes) for name in NUMBERS} | {STEP: np.arange(length)}
        with disk_errors_of(self.path):
            size = self._add({name: columns[name] if name in columns else numbers[name] for name in self._schema})
        self.episodes += 1
        if self._group.add(size):
            self._commit()

    def _columns(self, episode: Episode) -> Columns:
        steps, values = split_episode_data(episode)
        if values:
            raise UserError(
                f"{self.path}: {self.layout} datasets hold no values of whole episodes, such as {', '.join(values)}"
            )
        columns = {name: self._stored(column) for name, column in columns_of(steps).items()}
        for name in columns:
            self._check_name(name)
        if self._schema:
            known = {name: column for name, column in self._schema.items() if name not in NUMBERS}
            check_columns(self.path, known, columns)
        return columns

    def _stored(self, column: np.ndarray) -> np.ndarray:
        """A column in the form in which the format has it."""
        return column

    def settle(self) -> None:
        """Commit what waits if the last commit was long ago."""
        if self._group.is_late():
            self._commit()

    def _commit(self) -> None:
        if self.committed == self.episodes:
            return
        with disk_errors_of(self.path):
            self._commit_group()
        self._new = self._replaces = False
        self.committed = self.episodes
        self._group.commit()


@contextlib.contextmanager
def disk_errors_of(path: Path) -> Iterator[None]:
    """What the file system says within the block names a dataset, whichever of its files it was about.

    Raises:
        OSError: The file system refused.
    """
    try:
        with disk_errors(path):
            yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
