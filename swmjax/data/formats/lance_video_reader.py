"""Reads datasets in the reference's layout of Lance tables with videos, exactly the rows asked for."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.formats import lance_layout
from swmjax.data.formats import lance_video_layout as layout
from swmjax.data.formats.base import Column, Reader
from swmjax.data.formats.lance_reader import LanceReader
from swmjax.data.formats.mp4 import Source, Videos
from swmjax.data.remote import is_address
from swmjax.runs.files import identity


class LanceVideoReader(Reader):
    """Read Lance tables with videos, as they were when this was made.

    Args:
        path: The folder that holds them, or in it the table of the steps; a path or an address.
        table_name: That table, where a folder holds several.
        storage_options: How an address is reached, as Lance takes it.

    Raises:
        UserError: There is no such dataset, it is damaged, or its columns are none that the layout has.
        MissingExtraError: pylance or PyAV is not installed; the message says how to install it.

    Attributes:
        others: Names of the columns that are no images.

    Source: reference, `data/formats/lance_video.py`.
    """

    def __init__(
        self,
        path: str | Path,
        table_name: str | None = None,
        storage_options: Mapping[str, str] | None = None,
    ):
        self.path = str(path)
        self._options = None if storage_options is None else dict(storage_options)
        if not is_address(path) and not Path(path).exists():
            raise UserError(f"{path}: there is no such dataset")
        self._steps = LanceReader(path, table_name, storage_options)
        self._table = lance_layout.beside(self._steps.path, "videos")
        local = not is_address(path)
        if local and not Path(self._table).exists():
            raise UserError(f"{self._table}: there is no such table, and the dataset needs its videos")
        self._identity = identity(Path(self._table)) if local else None
        self.lengths = self._steps.lengths
        self._open: Any = lance_layout.opened(self._table, storage_options=self._options)
        self._version = self._open.version
        self._rows = layout.rows_of_videos(self._open, self._table, len(self.lengths))
        self._videos = {name: Videos() for name in self._rows}
        shown = {name: Column("image", self._size(name), np.dtype(np.uint8)) for name in self._rows}
        self.others = tuple(self._steps.columns)
        self.columns = {**self._steps.columns, **shown}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    @property
    def _dataset(self) -> Any:
        if self._open is None:
            self._open = lance_layout.opened(self._table, self._version, self._options)
        return self._open

    def _size(self, name: str) -> tuple[int, ...]:
        """Height, width and channels of the frames of a column: those of the first video."""
        filled = np.flatnonzero(self.lengths)
        if not len(filled):
            return (0, 0, 3)
        with self._videos[name].borrow(int(filled[0]), *self._named(name, int(filled[0]))) as video:
            return (*video.index.size, 3)

    def _named(self, name: str, episode: int) -> tuple[str, Any]:
        return f"{self._table}: {name} of episode {episode}", functools.partial(self._source, name, episode)

    def _source(self, name: str, episode: int) -> Source:
        row = int(self._rows[name][episode])
        if row < 0:
            raise UserError(f"{self._table}: episode {episode} has no video of {name}")
        try:
            return self._dataset.take_blobs(layout.BYTES, indices=[row])[0]
        except Exception as error:
            raise lance_layout.unreadable(self._table, error) from error

    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        made = self.empty(columns, len(rows), out)
        episodes, steps = self.locate(rows)
        if self._identity is not None and identity(Path(self._table)) != self._identity:
            raise UserError(f"{self.path}: was replaced meanwhile; open it again")
        others = [name for name in columns if name not in self._rows]
        if others:
            self._steps.read(others, rows, {name: made[name] for name in others})
        for name in set(columns) - set(others):
            self._videos[name].read(episodes, steps, functools.partial(self._named, name), made[name])
        return made

    @property
    def episode_columns(self) -> tuple[str, ...]:
        """Names of the values that belong to whole episodes."""
        return self._steps.episode_columns

    def episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes."""
        return self._steps.episode_data(episodes)
