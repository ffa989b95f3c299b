"""The film of a run: a few episodes beside their goals."""

from pathlib import Path

import numpy as np

from swmjax.world.episodes import Episodes
from swmjax.world.video import mark_success, side_by_side, write_mp4

FPS = 10
_HOLD = 10


def write_film(path: Path, episodes: Episodes) -> None:
    """Write filmed episodes one after the other as an MP4.

    Args:
        path: The file to make.
        episodes: Episodes with their pictures.
    """
    assert episodes.frames is not None
    assert episodes.goal_frames is not None
    parts = []
    for i, goal in enumerate(np.asarray(episodes.goal_frames)):
        frames = np.asarray(episodes.frames[:, i])
        steps = int(episodes.steps[i])
        if bool(episodes.success[i]):
            frames = mark_success(frames, steps)
        frames = frames[: steps + 1]
        # Hold the end, so that a viewer sees how close it came.
        frames = np.concatenate([frames, np.repeat(frames[-1:], _HOLD, axis=0)])
        parts.append(side_by_side({f"episode {i}": frames, "goal": goal}))
    write_mp4(path, np.concatenate(parts), FPS)
