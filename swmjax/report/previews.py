"""Episodes of a dataset as videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from envs_mjx.checks import check_name, check_number, check_whole
from swmjax.data import Reader
from swmjax.report.sheets import image_columns
from swmjax.runs.telling import Note, Progress, silent
from swmjax.world.video import side_by_side, write_mp4


def write_previews(
    reader: Reader,
    folder: Path,
    episodes: Sequence[int] | None = None,
    *,
    num: int = 4,
    seed: int = 0,
    keys: Sequence[str] | None = None,
    fps: float = 15,
    progress: Progress = silent,
    note: Note = silent,
) -> dict[int, Path]:
    """Write episodes as videos, several columns of images side by side.

    Args:
        reader: The dataset.
        folder: Where `ep<number>.mp4` go.
        episodes: Their numbers; drawn without repetition if None.
        num: How many are drawn; all if there are no more.
        seed: Of the draw.
        keys: Columns of images; all if None.
        fps: Frames a second.
        progress: Told the stage and the videos done.
        note: Told if there are fewer episodes than are to be drawn.

    Returns:
        The files by number of the episode.

    Raises:
        UserError: There is no such episode, or no such column of images.
        OSError: As the file system says it.

    Source: reference, `cli.py`.
    """
    check_number("fps", fps, above=0.0)
    known, there = image_columns(reader), len(reader.lengths)
    names = list(keys) if keys is not None else known
    for name in names:
        check_name(f"column of images of {reader.path}", name, known)
    if episodes is None:
        check_whole("num", num, 1)
        if num > there:
            note(f"{reader.path} has {there} episodes, all of which are shown")
        episodes = sorted(np.random.default_rng(seed).choice(there, min(num, there), replace=False).tolist())
    for number in episodes:
        check_whole("episode", number, 0, there - 1)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[int, Path] = {}
    for number in episodes:
        progress("writing", len(files))
        rows = reader.offsets[number] + np.arange(reader.lengths[number])
        read = reader.read(names, rows)
        videos = {name: _coloured(read[name]) for name in names}
        files[number] = folder / f"ep{number}.mp4"
        write_mp4(files[number], next(iter(videos.values())) if len(videos) == 1 else side_by_side(videos), fps)
    return files


def _coloured(frames: np.ndarray) -> np.ndarray:
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames
