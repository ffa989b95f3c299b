"""Folders of columns: an npz file for numbers and texts, a JPEG file for every picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swmjax.data.formats import folder_layout as layout
from swmjax.data.formats.base import Format, Mode
from swmjax.data.formats.folder_reader import FolderReader
from swmjax.data.formats.folder_writer import FolderWriter
from swmjax.data.formats.records import parsed


class Folder(Format):
    """One folder; a JPEG file for every picture, and an npz file for any other column."""

    name = "folder"
    place = f"be a folder with {layout.LENGTHS}.npz"
    extra = "data"

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether a folder holds lengths of episodes, and no videos."""
        return layout.is_dataset(path) and not layout.has_videos(path)

    @classmethod
    def reader(cls, path: str | Path, **options: Any) -> FolderReader:
        """A `FolderReader`."""
        cls.check_options(options)
        return FolderReader(path)

    @classmethod
    def writer(cls, path: str | Path, mode: Mode = "error", **options: Any) -> FolderWriter:
        """A `FolderWriter`."""
        cls.check_options(options)
        return FolderWriter(path, mode)

    @classmethod
    def record(cls, path: Path) -> dict[str, Any] | None:
        """What stands beside the lengths of the episodes, or in the newest group."""
        return parsed(layout.record_in(path)) if layout.is_dataset(path) else None
