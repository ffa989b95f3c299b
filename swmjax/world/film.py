"""The film of a run: a few episodes beside their goals."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from envs_mjx import Env, State
from swmjax.runs.watched import Watched
from swmjax.world.episodes import Episodes
from swmjax.world.video import mark_success, side_by_side, write_mp4

FPS = 10
_HOLD = 10


def write_film(path: Path, env: Env, episodes: Episodes, run: Watched) -> None:
    """Render the kept trajectories one after the other and write an MP4.

    Args:
        path: The file to make.
        env: The environment that renders.
        episodes: Episodes with a trajectory.
        run: The run that it is the film of.
    """

    def reel(trajectory: State, goals: State, i: Array) -> Array:
        """Frames of an episode, and the one that shows its goal."""
        shown = jax.tree.map(lambda states, goal: jnp.concatenate([states[:, i], goal[i][None]]), trajectory, goals)
        return jax.lax.map(env.render, shown)

    inputs = (episodes.trajectory, episodes.shown_goals)
    render, _ = run.compile("compiling the video", reel, *inputs, jnp.asarray(0))
    run.show("video")
    parts = []
    for i in range(len(episodes.shown_goals.step)):
        rendered = np.asarray(render(*inputs, jnp.asarray(i)))
        frames, goal = rendered[:-1], rendered[-1]
        steps = int(episodes.steps[i])
        if bool(episodes.success[i]):
            frames = mark_success(frames, steps)
        frames = frames[: steps + 1]
        # Hold the end, so that a viewer sees how close it came.
        frames = np.concatenate([frames, np.repeat(frames[-1:], _HOLD, axis=0)])
        parts.append(side_by_side({f"episode {i}": frames, "goal": goal}))
    write_mp4(path, np.concatenate(parts), FPS)
