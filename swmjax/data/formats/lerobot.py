"""LeRobot's datasets of versions 2 and 3, read without LeRobot or PyTorch."""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from envs_mjx.checks import UserError, check_name, check_whole
from swmjax.data.formats.base import STEP, Column, Format, Reader
from swmjax.data.formats.lerobot_meta import IMAGE, INFO, VIDEO, read_meta, read_parquet, unreadable
from swmjax.data.formats.mp4 import Videos
from swmjax.data.formats.pictures import decode_picture, picture_size

SCHEME = "lerobot://"
EPISODE, TASK = "ep_idx", "task"
_NUMBERS = ("index", "episode_index", "frame_index", "task_index")
"""Columns that number rows; the text of the task stands for its number."""
_ALIASES = {"action": "action", "observation.state": "proprio"}
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class LeRobotReader(Reader):
    """Read a LeRobot dataset that is on this machine.

    The primary camera is `pixels`, `observation.state` is `proprio`, `ep_idx` and `step_idx` number episodes and rows
    as in the reference, and `task` is the text of the task. Other features keep their names; depth maps, and features
    that are neither images, numbers nor texts, are left out. Images are uint8, where the reference gives floats.

    Args:
        path: `lerobot://USER/NAME`, or the folder of a dataset.
        root: The folder, where the name does not tell it.
        episodes: Numbers of the episodes to read, in their order, which are numbered anew; all if None.
        primary_camera_key: Which camera is `pixels`; needed where there are several.
        key_aliases: Names of features, by their own, under which they are read.

    Raises:
        UserError: There is no such dataset here, it is damaged, or a name is none of its features.

    Source: reference, `data/formats/lerobot.py`.
    """

    def __init__(
        self,
        path: str | Path,
        root: str | Path | None = None,
        episodes: Sequence[int] | None = None,
        primary_camera_key: str | None = None,
        key_aliases: Mapping[str, str] | None = None,
    ):
        self.path = str(path)
        self._root = folder_of(path) if root is None else Path(root)
        if not (self._root / INFO).is_file():
            raise UserError(f"{self._root}: is no LeRobot dataset; expected is a folder with {INFO}")
        self._meta = read_meta(self._root)
        count = len(self._meta.lengths)
        for number in () if episodes is None else episodes:
            check_whole("episodes", number, 0, count - 1)
        self._chosen = np.arange(count) if episodes is None else np.asarray(episodes, np.int64).reshape(-1)
        self.lengths = self._meta.lengths[self._chosen]
        self._lock = threading.Lock()
        self._arrays: dict[tuple[int, str], np.ndarray] = {}
        self._features = {
            name: each
            for name, each in self._meta.features.items()
            if name not in _NUMBERS and (each.get("dtype") != VIDEO or name in self._meta.videos)
        }
        self._videos = {name: Videos() for name in self._meta.videos}
        self._names = self._aliases(primary_camera_key, key_aliases or {})
        numbers = Column("number", (), np.dtype(np.int64))
        self.columns = {alias: column for alias, name in self._names.items() if (column := self._column(name))}
        self.columns |= {EPISODE: numbers, STEP: numbers}
        if self._meta.tasks:
            self.columns[TASK] = Column("text", (), np.dtype(object))

    def _aliases(self, camera: str | None, more: Mapping[str, str]) -> dict[str, str]:
        """Names of features by those under which they are read."""
        cameras = [name for name, each in self._features.items() if each.get("dtype") in (VIDEO, IMAGE)]
        if camera is not None:
            check_name(f"camera of {self.path}", camera, cameras)
        elif len(cameras) > 1:
            raise UserError(
                f"{self.path}: has the cameras {', '.join(cameras)}; say with `primary_camera_key` which is `pixels`"
            )
        for name in more:
            check_name(f"feature of {self.path}", name, self._features)
        shown = dict.fromkeys([camera] if camera else cameras, "pixels")
        aliases = {name: {**_ALIASES, **shown, **more}.get(name, name) for name in self._features}
        if len(set(aliases.values()) | {EPISODE, STEP, TASK}) < len(aliases) + 3:
            raise UserError(f"{self.path}: several columns would be called the same: {', '.join(aliases.values())}")
        return {alias: name for name, alias in aliases.items()}

    def _column(self, name: str) -> Column | None:
        kind, shape = self._features[name].get("dtype"), self._features[name].get("shape") or ()
        if kind in (VIDEO, IMAGE):
            return Column("image", (*self._size(name, kind), 3), np.dtype(np.uint8))
        if kind == "string":
            return Column("text", (), np.dtype(object))
        try:
            dtype = np.dtype(kind)
        except TypeError:
            return None
        if dtype.kind not in "biuf" or not all(type(each) is int and each > 0 for each in shape):
            return None
        return Column("number", () if tuple(shape) == (1,) else tuple(shape), dtype)

    def _size(self, name: str, kind: str) -> tuple[int, int]:
        filled = np.flatnonzero(self.lengths)
        if not len(filled):
            return (0, 0)
        first = int(self._chosen[filled[0]])
        if kind == IMAGE:
            data, place = self._files(name, first, np.zeros(1, np.int64))
            return picture_size(data[0], place(0))
        key = int(self._meta.videos[name].file[first])
        with self._videos[name].borrow(key, *self._named(name, key)) as video:
            return video.index.size

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_arrays": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        made = self.empty(columns, len(rows), out)
        local, steps = self.locate(rows)
        episodes = self._chosen[local]
        for alias, array in made.items():
            name = self._names.get(alias, alias)
            if alias in (EPISODE, STEP):
                array[...] = local if alias == EPISODE else steps
            elif name in self._videos:
                places = self._meta.videos[name]
                seconds = places.begin[episodes] + self._rows("timestamp", np.dtype(np.float64), (), episodes, steps)
                self._videos[name].read(places.file[episodes], seconds, functools.partial(self._named, name), array)
            elif self.columns[alias].kind == "image":
                self._read_pictures(name, episodes, steps, array)
            elif alias == TASK:
                numbers = self._rows("task_index", np.dtype(np.int64), (), episodes, steps)
                array[:] = [self._task(number) for number in numbers.tolist()]
            else:
                array[...] = self._rows(name, self.columns[alias].dtype, self.columns[alias].shape, episodes, steps)
        return made

    def _task(self, number: int) -> str:
        if number not in self._meta.tasks:
            raise UserError(f"{self.path}: there is no text for the task {number}")
        return self._meta.tasks[number]

    def _named(self, name: str, key: int) -> tuple[str, Any]:
        file = self._meta.videos[name].files[key]
        return str(file), functools.partial(_existing, file)

    def _rows(
        self,
        name: str,
        dtype: np.dtype,
        shape: tuple[int, ...],
        episodes: Int64[np.ndarray, " R"],
        steps: Int64[np.ndarray, " R"],
    ) -> np.ndarray:
        """Rows of a feature that is no image."""
        places = self._meta.rows
        found = np.empty((len(episodes), *shape), dtype)
        files = places.file[episodes]
        for number in np.unique(files).tolist():
            own = files == number
            whole = self._array(number, name, dtype, shape)
            found[own] = whole[places.begin[episodes[own]] + steps[own]]
        return found

    def _array(self, number: int, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """A feature in a file, read when it is needed first, and kept."""
        with self._lock:
            if (number, name) not in self._arrays:
                self._arrays[number, name] = self._read_array(number, name, dtype, shape)
            return self._arrays[number, name]

    def _read_array(self, number: int, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        places, file = self._meta.rows, self._meta.rows.files[number]
        table = read_parquet(file, [name])
        if name not in table.column_names:
            raise UserError(f"{file}: has no column {name}")
        rows = int(self._meta.lengths[places.file == number].sum())
        if len(table) < rows:
            raise UserError(f"{file}: has {len(table)} rows, and its episodes {rows}")
        column = table.column(name).combine_chunks()
        if dtype.kind == "O":
            texts = np.empty(len(column), object)
            texts[:] = ["" if text is None else text for text in column.to_pylist()]
            return texts
        while isinstance(column, pa.ExtensionArray):
            column = column.storage
        while not pa.types.is_primitive(column.type) and hasattr(column, "flatten"):
            column = column.flatten()
        try:
            return column.to_numpy(zero_copy_only=False).astype(dtype).reshape(len(table), *shape)
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise UserError(f"{file}: {name} is not {dtype} {list(shape)} in every row: {error}") from error

    def _read_pictures(
        self, name: str, episodes: Int64[np.ndarray, " R"], steps: Int64[np.ndarray, " R"], out: np.ndarray
    ) -> None:
        for episode in np.unique(episodes).tolist():
            own = np.flatnonzero(episodes == episode)
            data, place = self._files(name, episode, steps[own])
            for i, row in enumerate(own.tolist()):
                picture = decode_picture(data[i], place(i))
                if picture.shape != out.shape[1:]:
                    raise UserError(
                        f"{place(i)} is of {picture.shape[:2]} px, and the first one of {out.shape[1:3]} px"
                    )
                out[row] = picture

    def _files(self, name: str, episode: int, steps: Int64[np.ndarray, " R"]) -> tuple[list[bytes], Any]:
        """Files of pictures of some rows of an episode, and what each is called in messages."""
        places = self._meta.rows
        file = places.files[int(places.file[episode])]
        rows = int(places.begin[episode]) + steps
        try:
            parquet = pq.ParquetFile(file)
            ends = np.cumsum([parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)])
            groups = np.searchsorted(ends, rows, side="right")
            if groups.max() >= len(ends):
                raise UserError(f"{file}: has {ends[-1] if len(ends) else 0} rows; row {rows.max()} is asked for")
            found: list[Any] = [None] * len(rows)
            for group in np.unique(groups).tolist():
                column = parquet.read_row_group(group, columns=[name]).column(name)
                first = int(ends[group]) - parquet.metadata.row_group(group).num_rows
                for i in np.flatnonzero(groups == group).tolist():
                    found[i] = column[int(rows[i]) - first].as_py()
        except (OSError, pa.ArrowException, KeyError) as error:
            raise unreadable(file, error) from error

        def place(i: int) -> str:
            return f"{file}: {name}, row {rows[i]},"

        data = []
        for i, each in enumerate(found):
            file_of_row = each.get("bytes") if isinstance(each, dict) else each
            if not isinstance(file_of_row, bytes):
                raise UserError(f"{place(i)} holds no picture")
            data.append(file_of_row)
        return data, place


class LeRobot(Format):
    """A LeRobot dataset of version 2 or 3, `lerobot://USER/NAME` or its folder; can only be read."""

    name = "lerobot"
    place = f"begin with {SCHEME}"
    extra = "formats"

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether it begins with `lerobot://`, or is a folder that holds such a dataset."""
        return _is_address(path) or ("://" not in str(path) and (Path(path) / INFO).is_file())

    @classmethod
    def reader(
        cls,
        path: str | Path,
        *,
        root: str | Path | None = None,
        episodes: Sequence[int] | None = None,
        primary_camera_key: str | None = None,
        key_aliases: Mapping[str, str] | None = None,
        **options: Any,
    ) -> LeRobotReader:
        """A `LeRobotReader`."""
        cls.check_options(options)
        return LeRobotReader(path, root, episodes, primary_camera_key, key_aliases)


def _is_address(path: str | Path) -> bool:
    return str(path).startswith(SCHEME)


def folder_of(path: str | Path) -> Path:
    """Where on this machine a dataset is: a folder, or where LeRobot keeps those that it has downloaded.

    Raises:
        UserError: It is not there; the message says how to download it.
    """
    if not _is_address(path):
        return Path(path)
    name = str(path)[len(SCHEME) :]
    if not _REPOSITORY.fullmatch(name):
        raise UserError(f"{path}: expected is {SCHEME}USER/NAME")
    cache = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser() / "lerobot"
    home = Path(os.environ.get("HF_LEROBOT_HOME") or cache).expanduser()
    snapshots = home / "hub" / f"datasets--{name.replace('/', '--')}" / "snapshots"
    copies = sorted(snapshots.iterdir(), key=lambda each: each.stat().st_mtime) if snapshots.is_dir() else []
    for folder in (home / name, *reversed(copies)):
        if (folder / INFO).is_file():
            return folder
    raise UserError(
        f"{path}: is not at {home / name}; download it with `hf download --repo-type dataset {name} --local-dir "
        f"{home / name}`"
    )


def _existing(file: Path) -> str:
    if not file.is_file():
        raise UserError(f"{file}: there is no such file, and the dataset needs it")
    return str(file)
