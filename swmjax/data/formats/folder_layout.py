"""The reference's folder layout: `<column>.npz`, `ep_len.npz`, `ep_offset.npz`, and a folder of pictures a column.

The reference takes every other entry of the folder for a column, save those whose names up to the last dot are
`ep_len` or `ep_offset`. So a record of how the last episodes were made stands in `ep_len.npz`, and groups of episodes
that wait to be joined to the columns lie in the folder `ep_len.parts`, an npz file each. Rows count as far as
`ep_len.npz` says, which is replaced last: what lies behind them, in columns and pictures, is what a process that died
has left.
"""

from __future__ import annotations

import os
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.formats.base import Column

LENGTHS, OFFSETS = "ep_len", "ep_offset"
PARTS = "ep_len.parts"
ARRAY, RECORD = "arr_0", "record"
PICTURES = (".jpeg", ".jpg")
VIDEO = ".mp4"
_MEMBER = re.compile(r"ep_(\d+)(?:_step_(\d+)\.jpe?g|\.mp4)")
_PART = re.compile(r"(\d+)\.npz")
_MADE = re.compile(r"\d+\.npz|(?:new |\.).+\.npz")
"""What lies among the groups, those included that are being made."""


def is_dataset(path: str | Path) -> bool:
    """Whether there is a dataset of this layout, with pictures or videos."""
    return "://" not in str(path) and (Path(path) / f"{LENGTHS}.npz").is_file()


def has_videos(path: str | Path) -> bool:
    """Whether a folder of it holds a video."""
    return any(name.endswith(VIDEO) for folder in folders_in(Path(path)) for name in names_in(folder))


def names_in(folder: Path) -> Iterator[str]:
    """Names of what lies in a folder, of which there may be very many."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def folders_in(path: Path) -> list[Path]:
    """Folders of pictures or videos."""
    return sorted(each for each in path.iterdir() if each.is_dir() and each.name != PARTS)


def check_name(path: Path, name: str, layout: str) -> None:
    """UserError if no column can be called so, since it would be another file or be taken for none."""
    stem = name.rpartition(".")[0] or name
    if (
        not name
        or name.startswith(".")
        or any(sign in name for sign in '/\\\0:*?"<>|')
        or name.endswith((".npz", " ", "."))
        or {LENGTHS, OFFSETS} & {name, stem}
    ):
        raise UserError(f"{path}: no column of a {layout} dataset can be called {name!r}")


def arrays_in(path: Path, *names: str, lenient: bool = False) -> dict[str, np.ndarray]:
    """Arrays of an npz file, of which nothing is executed.

    Args:
        path: The file.
        *names: Of the arrays.
        lenient: Whether it may lack them.

    Raises:
        UserError: It is damaged, holds objects, or lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is no npz file")
            return {name: file[name] for name in names if name in file.files or not lenient}
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file, and the dataset needs it") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError) as error:
        raise UserError(f"{path}: cannot be read, {' '.join(str(error).split())[:200]}") from error


def header_of(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the array in an npz file, whose numbers are not read.

    Raises:
        UserError: It is damaged, or holds objects.
    """
    read = np.lib.format
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{ARRAY}.npy") as file:
            version = read.read_magic(file)
            header = read.read_array_header_1_0(file) if version == (1, 0) else read.read_array_header_2_0(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{path}: cannot be read, {' '.join(str(error).split())[:200]}") from error
    shape, _, dtype = header
    if dtype.kind not in "biufUS" or not shape or (dtype.kind in "US" and len(shape) > 1):
        raise UserError(f"{path}: holds {dtype} {list(shape)}, which is neither numbers nor a text a row")
    return shape, dtype


def column_of(shape: tuple[int, ...], dtype: np.dtype) -> Column:
    """What the array of a column holds."""
    if dtype.kind in "US":
        return Column("text", (), np.dtype(object))
    if dtype == np.uint8 and len(shape) == 4 and shape[-1] in (1, 3):
        return Column("image", shape[1:], dtype)
    return Column("number", shape[1:], dtype.newbyteorder("="))


def lengths_in(path: Path) -> np.ndarray:
    """Rows of each episode of the columns themselves.

    Raises:
        UserError: They do not follow one another.
    """
    lengths, offsets = (arrays_in(path / f"{name}.npz", ARRAY)[ARRAY] for name in (LENGTHS, OFFSETS))
    usual = lengths.ndim == offsets.ndim == 1 and lengths.dtype.kind in "iu" and offsets.dtype.kind in "iu"
    lengths = lengths.astype(np.int64) if usual else lengths
    # The offsets are replaced first, so that a process which died may have left more of them.
    if not usual or (lengths < 0).any() or not np.array_equal(offsets[: len(lengths)], np.cumsum(lengths) - lengths):
        raise UserError(f"{path}: {LENGTHS}.npz and {OFFSETS}.npz do not say where episodes follow one another")
    return lengths


def parts_of(path: Path, episodes: int) -> list[tuple[int, Path]]:
    """Groups that wait to be joined to the columns of so many episodes, and the numbers of their first episodes."""
    folder = path / PARTS
    if not folder.is_dir():
        return []
    found = [(int(match[1]), entry) for entry in folder.iterdir() if (match := _PART.fullmatch(entry.name))]
    return [(first, entry) for first, entry in sorted(found) if first >= episodes]


def record_in(path: Path) -> str | None:
    """How the last episodes are made: what the newest group says, or the file of the lengths; None if they do not."""
    parts = parts_of(path, len(lengths_in(path)))
    files = [parts[-1][1]] if parts else []
    for file in (*files, path / f"{LENGTHS}.npz"):
        said = arrays_in(file, RECORD, lenient=True).get(RECORD)
        if said is not None and said.dtype.kind == "U" and not said.ndim:
            return str(said)
    return None


def members_behind(folder: Path, episodes: int) -> Iterator[Path]:
    """Pictures or videos of episodes that are not there."""
    for name in names_in(folder):
        match = _MEMBER.fullmatch(name)
        if match and int(match[1]) >= episodes:
            yield folder / name


def strangers(path: Path) -> Iterator[Path]:
    """What lies in a dataset and is no part of one."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            known = _MADE if entry.name == PARTS else _MEMBER
            yield from (entry / name for name in names_in(entry) if not known.fullmatch(name))
        elif entry.suffix != ".npz":
            yield entry


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz file; texts may be objects."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            plain = np.array(array.tolist(), str) if array.dtype.kind in "UO" else array
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, plain, allow_pickle=False)


class Tables:
    """Columns that are arrays, each read when it is needed first, and kept.

    Args:
        path: The dataset.
        parts: Groups that wait to be joined to the columns.
        rows: Of the columns themselves, and of each group.
    """

    def __init__(self, path: Path, parts: list[Path], rows: list[int]):
        self._path, self._parts, self._rows = path, parts, rows
        self._arrays: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_arrays": {}, "_lock": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def own(self) -> int:
        """Rows of the columns themselves."""
        return self._rows[0]

    def __getitem__(self, name: str) -> np.ndarray:
        with self._lock:
            if name not in self._arrays:
                self._arrays[name] = self._read(name)
            return self._arrays[name]

    def pop(self, name: str) -> np.ndarray:
        """A column, which is not kept."""
        return self._read(name)

    def _read(self, name: str) -> np.ndarray:
        file = self._path / f"{name}.npz"
        pieces, rows = [arrays_in(file, ARRAY)[ARRAY]], sum(self._rows)
        # A writer may have joined the groups meanwhile.
        if len(pieces[0]) < rows:
            pieces = [pieces[0][: self._rows[0]], *(arrays_in(part, name)[name] for part in self._parts)]
        for each, count, place in zip(pieces, self._rows, [file, *self._parts], strict=False):
            if len(each) < count:
                raise UserError(f"{place}: has {len(each)} rows, and the episodes {count}")
        whole = np.concatenate(pieces)[:rows] if len(pieces) > 1 else pieces[0][:rows]
        if whole.dtype.kind in "US":
            return as_texts(whole, file)
        return whole.astype(whole.dtype.newbyteorder("="), copy=False)


def as_texts(array: np.ndarray, path: Path) -> np.ndarray:
    """Texts as objects.

    Raises:
        UserError: They are no UTF-8.
    """
    try:
        texts = [one.decode() if isinstance(one, bytes) else one for one in array.tolist()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: holds a text that is no UTF-8") from error
    found = np.empty(len(texts), object)
    found[:] = texts
    return found
