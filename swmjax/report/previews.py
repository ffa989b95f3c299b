"""Episodes of a dataset as videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from envs_mjx.checks import UserError, check_name, check_number, check_whole
from swmjax.data import Reader
from swmjax.report.sheets import image_columns
from swmjax.runs.telling import Note, Progress, silent
from swmjax.world.video import side_by_side, write_mp4


def choose_episodes(reader: Reader, count: int, seed: int, note: Note = silent) -> list[int]:
    """Numbers of some episodes of a dataset, drawn without repetition, in ascending order.

    Args:
        reader: The dataset.
        count: How many; all if there are no more.
        seed: Of the draw.
        note: Told if there are fewer.

    Raises:
        UserError: There is none.

    Source: reference, `cli.py`.
    """
    check_whole("num", count, 1)
    there = len(reader.lengths)
    if not there:
        raise UserError(f"{reader.path}: has no episodes")
    if count > there:
        note(f"{reader.path} has {there} episodes, all of which are shown")
    return sorted(np.random.default_rng(seed).choice(there, min(count, there), replace=False).tolist())


def write_previews(
    reader: Reader,
    folder: Path,
    episodes: Sequence[int],
    *,
    keys: Sequence[str] | None = None,
    fps: float = 15,
    progress: Progress = silent,
) -> list[Path]:
    """Write episodes as videos, several columns of images side by side.

    Args:
        reader: The dataset.
        folder: Where `ep<number>.mp4` go.
        episodes: Their numbers.
        keys: Columns of images; all if None.
        fps: Frames a second.
        progress: Told the stage and the videos done.

    Returns:
        The files.

    Raises:
        UserError: There is no such episode, or no such column of images.
        OSError: As the file system says it.
    """
    check_number("fps", fps, above=0.0)
    known = image_columns(reader)
    names = list(keys) if keys is not None else known
    for name in names:
        check_name(f"column of images of {reader.path}", name, known)
    for number in episodes:
        check_whole("episode", number, 0, len(reader.lengths) - 1)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for done, number in enumerate(episodes):
        progress("writing", done)
        rows = reader.offsets[number] + np.arange(reader.lengths[number])
        read = reader.read(names, rows)
        videos = {name: _coloured(read[name]) for name in names}
        files.append(folder / f"ep{number}.mp4")
        write_mp4(files[-1], next(iter(videos.values())) if len(videos) == 1 else side_by_side(videos), fps)
    return files


def _coloured(frames: np.ndarray) -> np.ndarray:
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames
