"""The reference's layout of Lance tables for numbers and videos, in one folder.

`<name>.lance` holds the steps, as in the format `lance` but without images; `<name>_videos.lance` a video for every
episode and column of images. Two tables cannot be committed at once; so videos are committed first, and count as far as
there are episodes among the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swmjax.data.formats import lance_layout, mp4
from swmjax.data.formats import lance_video_layout as layout
from swmjax.data.formats.base import Format, Mode
from swmjax.data.formats.lance import Lance
from swmjax.data.formats.lance_video_reader import LanceVideoReader
from swmjax.data.formats.lance_video_writer import LanceVideoWriter
from swmjax.data.remote import is_address


class LanceVideo(Format):
    """One folder of Lance tables; images as videos, one an episode."""

    name = "lance_video"
    place = "be a folder that holds a Lance table of videos"
    extra = "formats"
    supports_episode_data = True

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether a folder holds a table of videos; or a path is that of a table with videos beside it."""
        if is_address(path):
            return False
        folder = Path(path)
        return layout.has_videos(folder) or (folder.is_dir() and any(folder.glob(f"*{layout.VIDEOS}")))

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        """A table and those beside it; or the folder of them."""
        return lance_layout.parts_of(path)

    @classmethod
    def reader(
        cls,
        path: str | Path,
        *,
        table_name: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        **options: Any,
    ) -> LanceVideoReader:
        """A `LanceVideoReader`."""
        cls.check_options(options)
        return LanceVideoReader(path, table_name, storage_options)

    @classmethod
    def writer(
        cls, path: str | Path, mode: Mode = "error", fps: float = 10, codec: str = mp4.CODEC, **options: Any
    ) -> LanceVideoWriter:
        """A `LanceVideoWriter`."""
        cls.check_options(options)
        return LanceVideoWriter(path, mode, fps, codec)

    @classmethod
    def record(cls, path: Path) -> dict[str, Any] | None:
        """What the table of the steps says."""
        table = layout.steps_in(path)
        return None if table is None else Lance.record(table)
