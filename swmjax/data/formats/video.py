"""Folders of columns: an npz file for numbers and texts, an MP4 file for every episode of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from envs_mjx.checks import check_number
from swmjax.data.formats import folder_layout as layout
from swmjax.data.formats import mp4
from swmjax.data.formats.base import Format, Mode
from swmjax.data.formats.episodes import is_images
from swmjax.data.formats.folder_reader import FolderReader
from swmjax.data.formats.folder_writer import FolderWriter
from swmjax.data.formats.records import parsed


class VideoWriter(FolderWriter):
    """Write episodes into a folder: pictures as videos, other columns as they are; otherwise as `FolderWriter`.

    Videos have the size of the frames, whatever that is; the reference pads or shrinks them to multiples of 16 px.

    Args:
        path: The dataset, a folder.
        mode: `error` for a dataset that must not exist yet, `append`, or `overwrite`.
        fps: Frames a second that videos are shown with.
        codec: Of FFmpeg, for the videos.

    Raises:
        MissingExtraError: PyAV is not installed; the message says how to install it.

    Source: reference, `data/formats/video.py`.
    """

    layout = "video"

    def __init__(self, path: str | Path, mode: Mode = "error", fps: float = 25, codec: str = mp4.CODEC):
        check_number("fps", fps, above=0, most=1000)
        mp4.check_codec(codec)
        self._fps, self._codec = fps, codec
        super().__init__(path, mode)

    def _stored(self, column: np.ndarray) -> np.ndarray:
        return mp4.rgb(column) if is_images(column) else column

    def _write_pictures(self, stem: Path, frames: UInt8[np.ndarray, "T H W C"]) -> int:
        path = stem.with_name(f"{stem.name}{layout.VIDEO}")
        self._written.append(path)
        mp4.encode(frames, path, self._fps, self._codec)
        return path.stat().st_size


class Video(Format):
    """One folder; an MP4 file for every episode of pictures, and an npz file for any other column."""

    name = "video"
    place = f"be a folder with {layout.LENGTHS}.npz and videos"
    extra = "formats"

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether a folder holds lengths of episodes, and videos."""
        return layout.is_dataset(path) and layout.has_videos(path)

    @classmethod
    def reader(cls, path: str | Path, **options: Any) -> FolderReader:
        """A `FolderReader`."""
        cls.check_options(options)
        return FolderReader(path)

    @classmethod
    def writer(
        cls, path: str | Path, mode: Mode = "error", fps: float = 25, codec: str = mp4.CODEC, **options: Any
    ) -> VideoWriter:
        """A `VideoWriter`."""
        cls.check_options(options)
        return VideoWriter(path, mode, fps, codec)

    @classmethod
    def record(cls, path: Path) -> dict[str, Any] | None:
        """What stands beside the lengths of the episodes, or in the newest group."""
        return parsed(layout.record_in(path)) if layout.is_dataset(path) else None
