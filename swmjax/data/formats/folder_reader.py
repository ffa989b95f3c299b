"""Reads datasets in the reference's folder layout, with pictures or videos, exactly the rows asked for."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.formats import folder_layout as layout
from swmjax.data.formats.base import Column, Reader
from swmjax.data.formats.mp4 import Videos
from swmjax.data.jpeg import decode_jpegs, jpeg_shape
from swmjax.runs.files import identity


class FolderReader(Reader):
    """Read a folder of columns, as it was when this was made.

    Columns of numbers and texts are read whole when they are needed first, and kept. A folder in it is a column of
    pictures, `ep_<episode>_step_<row>.jpeg`, or of videos, `ep_<episode>.mp4`.

    Args:
        path: The dataset.

    Raises:
        UserError: There is no such dataset, it is damaged, or its columns are none that the layout has.
        MissingExtraError: It holds videos, and PyAV is not installed; the message says how to install it.

    Source: reference, `data/formats/folder.py` and `data/formats/video.py`.
    """

    def __init__(self, path: str | Path):
        self.path, self._folder = str(path), Path(path)
        if not layout.is_dataset(self._folder):
            missing = "is no dataset" if self._folder.exists() else "there is no such dataset"
            raise UserError(f"{path}: {missing}; expected is a folder with {layout.LENGTHS}.npz")
        self._identity = identity(self._folder)
        self.lengths = layout.lengths_in(self._folder)
        rows, parts = [int(self.lengths.sum())], []
        for first, part in layout.parts_of(self._folder, len(self.lengths)):
            if first != len(self.lengths):
                raise UserError(f"{part}: does not follow {self.path}, to which something else has been added")
            lengths = layout.arrays_in(part, layout.LENGTHS)[layout.LENGTHS].astype(np.int64)
            self.lengths = np.concatenate([self.lengths, lengths])
            rows.append(int(lengths.sum()))
            parts.append(part)
        self._tables = layout.Tables(self._folder, parts, rows)
        self._shown: dict[str, Pictures] = {}
        self.columns = dict(sorted((self._arrays() | self._pictures()).items()))
        if not self.columns:
            raise UserError(f"{self.path}: has no columns")

    def _arrays(self) -> dict[str, Column]:
        found = {}
        for entry in self._folder.iterdir():
            if entry.suffix == ".npz" and entry.stem not in (layout.LENGTHS, layout.OFFSETS) and entry.is_file():
                shape, dtype = layout.header_of(entry)
                rows = self._tables.own
                if shape[0] < rows:
                    raise UserError(f"{entry}: has {shape[0]} rows, and the episodes {rows}")
                found[entry.stem] = layout.column_of(shape, dtype)
        return found

    def _pictures(self) -> dict[str, Column]:
        for folder in layout.folders_in(self._folder):
            kind = Clips if (folder / "ep_0.mp4").exists() else Frames
            self._shown[folder.name] = kind(folder, self.lengths)
        return {name: Column("image", each.shape, np.dtype(np.uint8)) for name, each in self._shown.items()}

    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        made = self.empty(columns, len(rows), out)
        episodes, steps = self.locate(rows)
        if identity(self._folder) != self._identity:
            raise UserError(f"{self.path}: was replaced meanwhile; open it again")
        for name, array in made.items():
            if name in self._shown:
                self._shown[name].read(episodes, steps, array)
            else:
                np.take(self._tables[name], rows, axis=0, out=array, mode="clip")
        return made


class Pictures(abc.ABC):
    """A column of pictures.

    Args:
        folder: Where they are.
        lengths: Rows of each episode.
    """

    shape: tuple[int, ...]

    def __init__(self, folder: Path, lengths: Int64[np.ndarray, " E"]):
        self._folder = folder
        first = np.flatnonzero(lengths)
        self.shape = self._size(int(first[0])) if len(first) else (0, 0, 3)

    @abc.abstractmethod
    def _size(self, episode: int) -> tuple[int, ...]:
        """Height, width and channels of the first picture of an episode."""

    @abc.abstractmethod
    def read(self, episodes: Int64[np.ndarray, " R"], steps: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        """Pictures of rows, into an array [R, ...]."""


class Frames(Pictures):
    """A column of pictures, each a file."""

    def _size(self, episode: int) -> tuple[int, ...]:
        file = self._file(episode, 0)
        return jpeg_shape(_content(file), str(file))

    def _file(self, episode: int, step: int) -> Path:
        stem = self._folder / f"ep_{episode}_step_{step}"
        named = [Path(f"{stem}{suffix}") for suffix in layout.PICTURES]
        return next((each for each in named if each.exists()), named[0])

    def read(self, episodes: Int64[np.ndarray, " R"], steps: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        """Pictures of rows."""
        files = [self._file(episode, step) for episode, step in zip(episodes.tolist(), steps.tolist(), strict=True)]
        direct = self.shape[-1] == 3 and all(frame.flags.c_contiguous for frame in out)
        frames = out if direct else np.empty((len(files), *self.shape[:2], 3), np.uint8)
        decode_jpegs([_content(file) for file in files], frames, lambda row: str(files[row]))
        if not direct:
            out[...] = frames[..., : self.shape[-1]]


class Clips(Pictures):
    """A column of videos, one an episode."""

    def __init__(self, folder: Path, lengths: Int64[np.ndarray, " E"]):
        self._videos = Videos()
        super().__init__(folder, lengths)

    def _size(self, episode: int) -> tuple[int, ...]:
        with self._videos.borrow(episode, *self._named(episode)) as video:
            return (*video.index.size, 3)

    def _named(self, episode: int) -> tuple[str, Any]:
        file = self._folder / f"ep_{episode}{layout.VIDEO}"
        return str(file), functools.partial(_existing, file)

    def read(self, episodes: Int64[np.ndarray, " R"], steps: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        """Pictures of rows."""
        self._videos.read(episodes, steps, self._named, out)


def _existing(file: Path) -> str:
    if not file.is_file():
        raise UserError(f"{file}: there is no such file, and the dataset needs it")
    return str(file)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read, {error.strerror}; the dataset needs it") from error
