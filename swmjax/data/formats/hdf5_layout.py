"""The reference's HDF5 layout: one file, a dataset a column, and `ep_len` and `ep_offset`.

Such a file cannot grow in place without a moment at which a kill would ruin it. So groups of episodes that are added
to one lie beside it, in the hidden folder `.NAME.parts`, each a whole file of the same layout, until their writer joins
them; then the file is replaced. Parts bear the mark of the file that they follow, and the number of their first
episode, so that those which a kill left behind are never read twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs_mjx.checks import UserError, needs_extra
from swmjax.data.formats.base import Column
from swmjax.data.formats.records import parsed
from swmjax.data.remote import is_address, open_file

LENGTHS, OFFSETS = "ep_len", "ep_offset"
BOOKS = (LENGTHS, OFFSETS)
"""What says where episodes are."""
SUFFIXES = (".h5", ".hdf5")
RECORD = "swmjax.record"
"""The attribute of a file that says how the last episodes are made."""
MARK = "swmjax.mark"
"""The attribute of a file that tells it from what it was before, and will be."""
_CACHE = 256 * 2**20
"""Bytes of decompressed chunks that are kept, per column."""
_PART = re.compile(r"([0-9a-f]{16})-(\d+)\.h5")


def import_h5py() -> Any:
    """The package, with the filters of public datasets."""
    with needs_extra("HDF5 datasets need", "formats"):
        import h5py
        import hdf5plugin  # noqa: F401
    return h5py


def file_of(path: str | Path) -> str:
    """The file that a path means: itself, or the only one in a folder.

    Raises:
        UserError: There is none, or several.
    """
    if is_address(path):
        return str(path)
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: there is no such dataset")
    if not path.is_dir():
        return str(path)
    found = files_in(path)
    if len(found) != 1:
        names = f"several: {', '.join(each.name for each in found)}" if found else "none"
        raise UserError(f"{path}: an HDF5 dataset is a file, or a folder that holds one; it holds {names}")
    return str(found[0])


def files_in(folder: Path) -> list[Path]:
    """HDF5 files in a folder."""
    return sorted(each for each in folder.iterdir() if each.suffix in SUFFIXES and not each.name.startswith("."))


def opened(path: str, storage_options: Mapping[str, Any] | None = None) -> Any:
    """A file, to be read.

    Args:
        path: The file, a path or an address.
        storage_options: How an address is reached, as fsspec takes it.

    Raises:
        UserError: It cannot be read.
        MissingExtraError: A package is not installed.
    """
    h5py = import_h5py()
    try:
        if is_address(path):
            return h5py.File(open_file(path, storage_options), "r")
        try:
            return h5py.File(path, "r", rdcc_nbytes=_CACHE, locking="best-effort")
        except OSError:
            if not _is_shared(Path(path)):
                raise
            return h5py.File(path, "r", swmr=True, rdcc_nbytes=_CACHE, locking="best-effort")
    except (OSError, ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error


def _is_shared(path: Path) -> bool:
    """Whether a recorder that lets others read meanwhile has a file, or had it when it died; as the superblock says.

    Readers of such a file wait for what is not there yet: for minutes, where it was cut. So that is looked at, too.
    """
    with path.open("rb") as file:
        head = file.read(48)
    third_version = len(head) == 48 and head[8] == 3 and head[9] == 8
    return third_version and bool(head[11] & 4) and path.stat().st_size >= int.from_bytes(head[28:36], "little")


def unreadable(path: object, error: BaseException, place: str = "") -> UserError:
    """What HDF5 says of a file, in one line."""
    return UserError(f"{path}: {place}cannot be read, {' '.join(str(error).split())[:200]}")


def columns_in(file: Any, path: str) -> dict[str, Column]:
    """What the columns of a file hold.

    Raises:
        UserError: It holds something that is no column, or that leads out of the file.
    """
    h5py = import_h5py()
    links = {name: file.get(name, getlink=True) for name in file}
    own = {name for name, link in links.items() if isinstance(link, h5py.HardLink)}
    names = list(links)
    for name, link in links.items():
        inside = isinstance(link, h5py.SoftLink) and link.path.strip("/") in own
        if name not in own and not inside:
            raise UserError(f"{path}: {name} is a link, which is not followed; allowed are columns in the file itself")
        if file.get(name, getclass=True) is not h5py.Dataset:
            raise UserError(f"{path}: {name} is no column of rows")
        if file[name].external or file[name].is_virtual:
            raise UserError(f"{path}: the rows of {name} lie in other files, which are not read")
    for name in BOOKS:
        if name not in names:
            raise UserError(f"{path}: has no {name}, so it is no dataset of episodes")
    return {name: _column(file[name], path, name) for name in names if name not in BOOKS}


def _column(dataset: Any, path: str, name: str) -> Column:
    h5py = import_h5py()
    dtype = dataset.dtype
    if not dataset.shape:
        raise UserError(f"{path}: {name} has no rows")
    if h5py.check_string_dtype(dtype) is not None:
        if dataset.ndim > 1:
            raise UserError(f"{path}: {name} has several texts a row")
        return Column("text", (), np.dtype(object))
    if dtype.kind not in "biuf":
        raise UserError(f"{path}: {name} holds {dtype}, which is neither numbers nor text")
    shape = tuple(dataset.shape[1:])
    if dtype == np.uint8 and len(shape) == 3 and shape[-1] in (1, 3):
        return Column("image", shape, dtype)
    return Column("number", shape, dtype.newbyteorder("="))


def lengths_in(file: Any, path: str, columns: Mapping[str, Column]) -> np.ndarray:
    """Rows of each episode of a file.

    Raises:
        UserError: They do not follow one another, or a column has fewer rows.
    """
    try:
        lengths, offsets = (np.asarray(file[name][:]).astype(np.int64) for name in BOOKS)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise unreadable(path, error, f"{LENGTHS} or {OFFSETS} ") from error
    ends = np.cumsum(lengths)
    if lengths.ndim != 1 or (lengths < 0).any() or not np.array_equal(offsets, ends - lengths):
        raise UserError(f"{path}: {LENGTHS} and {OFFSETS} do not say where episodes follow one another")
    rows = int(ends[-1]) if len(ends) else 0
    for name in columns:
        if file[name].shape[0] < rows:
            raise UserError(f"{path}: {name} has {file[name].shape[0]} rows, and the episodes {rows}")
    return lengths


def mark_of(file: Any, path: str, lengths: np.ndarray) -> str:
    """What tells a file from all others that had this path before."""
    said = file.attrs.get(MARK)
    if isinstance(said, str) and re.fullmatch("[0-9a-f]{16}", said):
        return said
    size = 0 if is_address(path) else Path(path).stat().st_size
    return hashlib.sha256(lengths.tobytes() + str(size).encode()).hexdigest()[:16]


def record_of(path: Path) -> dict[str, Any] | None:
    """How the last episodes of a dataset are made; None where there is none, or it does not say so."""
    if not path.is_file() or not import_h5py().is_hdf5(path):
        return None
    with opened(str(path)) as file:
        lengths = lengths_in(file, str(path), {})
        said = file.attrs.get(RECORD)
        parts = parts_of(path, mark_of(file, str(path), lengths))
    if parts:
        with opened(str(parts[-1][1])) as file:
            said = file.attrs.get(RECORD, said)
    return parsed(said)


def parts_folder(path: Path) -> Path:
    """Where groups wait to be joined to a file."""
    return path.with_name(f".{path.name}.parts")


def part(path: Path, mark: str, first: int) -> Path:
    """The file of a group.

    Args:
        path: The file that it follows.
        mark: Of that file.
        first: Number of its first episode.
    """
    return parts_folder(path) / f"{mark}-{first:09d}.h5"


def parts_of(path: Path, mark: str) -> list[tuple[int, Path]]:
    """Groups that wait to be joined to a file, and the numbers of their first episodes, in order."""
    folder = parts_folder(path)
    if not folder.is_dir():
        return []
    found = [(match, entry) for entry in folder.iterdir() if (match := _PART.fullmatch(entry.name))]
    return sorted((int(match[2]), entry) for match, entry in found if match[1] == mark)
