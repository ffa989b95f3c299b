"""Collect datasets: episodes of a policy, compiled in batches, written one after the other.

Columns, alignment and numbering are those of the reference's `World.collect`: row 0 is the reset, `action` is what was
done at a row (NaN in the last one), `reward` and the flags tell how a row was reached.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from envs_mjx import Env, State
from envs_mjx.checks import UserError
from swmjax.data import LanceWriter, Mode
from swmjax.policies.base import Policy
from swmjax.policies.rollout import Rollout, Start, frame, rollout
from swmjax.runs.interrupts import Stopped
from swmjax.runs.watched import Note, Progress, Watched, silent, watched

Episode = dict[str, np.ndarray]

_BOOKKEEPING = ("invalid_action", "invalid_state")
"""Entries of `info` that tell of this library and not of the environment."""


def collect(
    env: Env,
    policy: Policy,
    path: str | Path,
    episodes: int,
    *,
    max_steps: int = 200,
    seed: int = 0,
    image_size: int | None = 224,
    variation: Sequence[str] | None = None,
    mode: Mode = "error",
    batch_size: int = 16,
    progress: Progress = silent,
    note: Note = silent,
) -> int:
    """Collect episodes into a Lance dataset; nothing is left behind, or changed, where something goes wrong.

    Args:
        env: The environment.
        policy: The policy.
        path: The dataset, ending in `.lance`.
        episodes: Number of episodes to add.
        max_steps: Steps after which an episode is cut; the environment may end it earlier.
        seed: Episode i starts from seed + i and depends on no other episode.
        image_size: Height and width, px, of the frames in the column `pixels`, and of that of a goal in `goal`; None
            for no frames. Frames of another size are resized as the reference does it.
        variation: Factors of variation that are sampled, each written as a column; the environment's own choice, and
            no column, if None.
        mode: What to do where there is a dataset: `error`, `append` or `overwrite`.
        batch_size: Episodes that run side by side.
        progress: Told the stage and the episodes done.
        note: Told what the user should read at once.

    Returns:
        Number of episodes that were written.

    Raises:
        Stopped: The user stopped the collection; the dataset holds the episodes that were done.
        UserError: A number is out of range, the environment lacks a factor or has other actions than a Box, or the
            dataset to append to has other columns.
        FileExistsError: There is a dataset, and the mode is `error`.
        MissingExtraError: pylance is not installed.
    """
    check_collection(env, episodes, max_steps, seed, variation, batch_size, image_size)
    names = None if variation is None else tuple(variation)
    factors = () if names is None else tuple(env.variation_space.select(names))
    size = min(batch_size, episodes)

    def play(policy: Policy, seeds: Array) -> Rollout:
        states = jax.vmap(lambda seed: env.reset(jax.random.key(seed), variation=names))(seeds)
        return rollout(env, policy, Start(states=states, seeds=seeds), max_steps, keep=lambda states, _: states)

    def collected(run: Watched) -> Iterator[Episode]:
        columns = _Columns(env, image_size, factors, run)
        program, _ = run.compile("compiling", play, policy, jnp.zeros(size, jnp.int32))
        for first in range(0, episodes, size):
            run.show("episodes")
            numbers = np.minimum(np.arange(first, first + size), episodes - 1)
            played = run.finish(program, policy, jnp.asarray(seed + numbers, jnp.int32))
            yield from columns.episodes(played, min(size, episodes - first), seed + first)

    with watched(progress, note) as run:
        with LanceWriter(path, mode) as writer:
            for episode in collected(run):
                writer.write_episode(episode)
                run.done += 1
                run.show("episodes")
                if run.stop.asked:
                    break
        if run.done < episodes:
            raise Stopped(run.done)
    return run.done


def check_collection(
    env: Env,
    episodes: int,
    max_steps: int,
    seed: int,
    variation: Sequence[str] | None = None,
    batch_size: int = 1,
    image_size: int | None = None,
) -> None:
    """ValueError unless `collect` can be run with these arguments."""
    sizes = {} if image_size is None else {"image_size": image_size}
    for name, value in ({"episodes": episodes, "max_steps": max_steps, "batch_size": batch_size} | sizes).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be an integer of at least 1, got {value!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not seed >= 0 or seed + episodes > 2**31:
        raise UserError(f"seed must be an integer of at least 0, and seed + episodes at most 2**31, got {seed!r}")
    if not isinstance(env.action_space, gymnasium.spaces.Box):
        raise UserError(f"{type(env).__name__} has the actions {env.action_space}; datasets hold those of a Box")
    env.check_reset(None if variation is None else tuple(variation))


class _Columns:
    """From states to the columns of a dataset."""

    def __init__(self, env: Env, image_size: int | None, factors: Sequence[str], run: Watched):
        self._factors = factors
        self._run = run
        self._pixels = image_size is not None
        self._render = jax.jit(lambda states: jax.lax.map(partial(frame, env, image_size), states))
        self._goal = jax.jit(lambda state: frame(env, image_size, env.set_state(state, state.info["goal_state"])))
        self._compiled: dict[Any, Any] = {}

    def episodes(self, played: Rollout, count: int, seed: int) -> Iterator[Episode]:
        """The first episodes of a batch, each cut at its end."""
        names = ("info", "obs", "reward", "terminated", "truncated", "factors")
        shown = jax.device_get({name: getattr(played.kept, name) for name in names})
        actions, ends = np.asarray(played.actions), np.asarray(played.length)
        for i, end in enumerate(ends[:count].tolist()):
            seen = jax.tree.map(lambda leaf, i=i, end=end: np.array(leaf[: end + 1, i]), shown)
            frames = self._frames(played.kept, i, end + 1, "goal_state" in seen["info"]) if self._pixels else {}
            yield self._episode(seen, actions[:end, i], frames, seed + i)

    def _episode(self, seen: Any, actions: np.ndarray, frames: Episode, seed: int) -> Episode:
        # A cut that only the number of steps made is a truncation as well.
        seen["truncated"][-1] |= not seen["terminated"][-1]
        seen["reward"][0] = np.nan
        return {
            **{name: value for name, value in seen["info"].items() if name not in _BOOKKEEPING},
            **frames,
            **seen["obs"],
            **{name: seen[name] for name in ("reward", "terminated", "truncated")},
            "action": np.concatenate([actions, np.full_like(actions[:1], np.nan)]),
            "id": np.full(len(seen["reward"]), np.random.default_rng(seed).integers(2**63), np.int64),
            **{f"variation.{name}": seen["factors"][name] for name in self._factors},
        }

    def _frames(self, states: State, row: int, length: int, goal: bool) -> Episode:
        """Frames of all rows, those after the end included, so that one program serves all episodes."""
        states = jax.tree.map(lambda leaf: leaf[:, row], states)
        render = self._program("compiling the frames", self._render, states)
        start = time.perf_counter()
        frames = np.asarray(render(states))
        seconds = (time.perf_counter() - start) / len(frames)
        columns: Episode = {}
        if goal:
            first = jax.tree.map(lambda leaf: leaf[0], states)
            picture = np.asarray(self._program("compiling the goals", self._goal, first)(first))
            columns["goal"] = np.repeat(picture[None], length, axis=0)
        return columns | {"render_time": np.full(length, seconds), "pixels": frames[:length]}

    def _program(self, stage: str, function: Any, *args: Any) -> Any:
        """Compiled apart, so that no frame's time holds the compiling."""
        if stage not in self._compiled:
            self._compiled[stage], _ = self._run.compile(stage, function, *args)
        return self._compiled[stage]
