"""The film of a run: a few episodes beside their goals."""

from pathlib import Path

import jax
import numpy as np

from envs_mjx import Env
from swmjax.world.episodes import Episodes
from swmjax.world.video import mark_success, side_by_side, write_mp4

FPS = 10
_HOLD = 10


def write_film(path: Path, env: Env, episodes: Episodes) -> None:
    """Render the kept trajectories one after the other and write an MP4.

    Args:
        path: The file to make.
        env: The environment that renders.
        episodes: Episodes with a trajectory.
    """
    render = jax.jit(lambda states: jax.lax.map(env.render, states))
    goals = np.asarray(render(episodes.shown_goals))
    parts = []
    for i, goal in enumerate(goals):
        frames = np.asarray(render(jax.tree.map(lambda leaf, i=i: leaf[:, i], episodes.trajectory)))
        steps = int(episodes.steps[i])
        if bool(episodes.success[i]):
            frames = mark_success(frames, steps)
        frames = frames[: steps + 1]
        # Hold the end, so that a viewer sees how close it came.
        frames = np.concatenate([frames, np.repeat(frames[-1:], _HOLD, axis=0)])
        parts.append(side_by_side({f"episode {i}": frames, "goal": goal}))
    write_mp4(path, np.concatenate(parts), FPS)
