"""HDF5: one file, all columns as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swmjax.data.formats import hdf5_layout as layout
from swmjax.data.formats.base import Format, Mode
from swmjax.data.formats.hdf5_reader import HDF5Reader
from swmjax.data.formats.hdf5_writer import HDF5Writer
from swmjax.data.remote import is_address


class HDF5(Format):
    """One HDF5 file; all columns as they are, frames uncompressed."""

    name = "hdf5"
    place = "end in .h5 or .hdf5"
    suffix = layout.SUFFIXES[0]
    extra = "formats"
    lossless = True

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether the name ends so, or a folder holds such a file."""
        if Path(path).suffix in layout.SUFFIXES:
            return True
        return not is_address(path) and Path(path).is_dir() and bool(layout.files_in(Path(path)))

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        """A file and the groups beside it; or the folder of them."""
        return [each for each in (path, layout.parts_folder(path)) if each.exists()]

    @classmethod
    def reader(cls, path: str | Path, storage_options: Mapping[str, Any] | None = None, **options: Any) -> HDF5Reader:
        """An `HDF5Reader`."""
        cls.check_options(options)
        return HDF5Reader(path, storage_options)

    @classmethod
    def writer(cls, path: str | Path, mode: Mode = "error", **options: Any) -> HDF5Writer:
        """An `HDF5Writer`."""
        cls.check_options(options)
        return HDF5Writer(path, mode)

    @classmethod
    def record(cls, path: Path) -> dict[str, Any] | None:
        """What an attribute of the file, or of its newest group, says."""
        return layout.record_of(path)
