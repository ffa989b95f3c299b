"""Collect datasets: episodes of a policy, compiled in batches, written one after the other.

Columns, alignment and numbering are those of the reference's `World.collect`: row 0 is the reset, `action` is what was
done at a row (NaN in the last one, also where actions are whole numbers), `reward` and the flags tell how a row was
reached. What the reference lacks is `seed`, from which the episode began.
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
from envs_mjx.checks import UserError, check_count, is_integer
from swmjax.data import Mode, format_of, get_format
from swmjax.data.convert import dataset_path
from swmjax.data.formats.base import ID, SEED
from swmjax.policies.base import Policy
from swmjax.policies.rollout import Rollout, Start, frame, rollout
from swmjax.runs.interrupts import Stopped
from swmjax.runs.telling import Note, Progress, silent
from swmjax.runs.watched import Watched, watched
from swmjax.world.continuing import LAST_SEED, begin, collection_settings

Episode = dict[str, np.ndarray]

_BOOKKEEPING = ("invalid_action", "invalid_state")
"""Entries of `info` that tell of this library and not of the environment."""
_SHOWN = ("info", "obs", "reward", "terminated", "truncated", "factors")
"""Members of states that become columns."""
_ACTIONS = (gymnasium.spaces.Box, gymnasium.spaces.Discrete, gymnasium.spaces.MultiDiscrete)


def collect(
    env: Env,
    policy: Policy,
    path: str | Path,
    episodes: int,
    *,
    max_steps: int = 200,
    seed: int | None = None,
    image_size: int | None = 224,
    variation: Sequence[str] | None = None,
    mode: Mode = "error",
    format: str | None = None,
    batch_size: int = 16,
    progress: Progress = silent,
    note: Note = silent,
) -> int:
    """Collect episodes into a dataset.

    They are committed in groups, so that a process that is killed loses the last half minute, or hundredth, of its
    work; the same call goes on where it was, and ends with the dataset of a run that was not stopped. Nothing is left
    behind, or changed, where something goes wrong before the first group.

    Args:
        env: The environment.
        policy: The policy.
        path: The dataset; what its format has names end in is added if the format is given.
        episodes: Number of episodes to add.
        max_steps: Steps after which an episode is cut; the environment may end it earlier.
        seed: Episode i starts from seed + i and depends on no other episode. If None, the first has seed 0, or the one
            after the last that is there where episodes are appended.
        image_size: Height and width, px, of the frames in the column `pixels`, and of that of a goal in `goal`; None
            for no frames. Frames of another size are resized as the reference does it.
        variation: Factors of variation that are sampled, each written as a column; the environment's own choice, and
            no column, if None.
        mode: What to do where there is a dataset: `error`, `append` or `overwrite`.
        format: Of the dataset; what its name looks like if None.
        batch_size: Episodes that run side by side.
        progress: Told the stage and the episodes done.
        note: Told what the user should read at once.

    Returns:
        Number of episodes, those of an earlier run of the same call included.

    Raises:
        Stopped: The user stopped the collection; the dataset holds the episodes that were done.
        UserError: A number is out of range, the environment lacks a factor or has actions of a kind that datasets do
            not hold, the dataset to append to has other columns or images of another size, holds episodes of these
            seeds, or does not say of which.
        FileExistsError: There is a dataset that is not an unfinished one of the same call, and the mode is `error`.
        MissingExtraError: A package is not installed, such as pylance.
        OSError: As the file system says it; before anything is computed if nothing can be written there. The dataset
            holds the groups before.
    """
    check_collection(env, episodes, max_steps, seed, variation, batch_size, image_size)
    names = None if variation is None else tuple(variation)
    factors = () if names is None else tuple(env.variation_space.select(names))
    size = min(batch_size, episodes)

    @jax.jit
    def play(policy: Policy, seeds: Array) -> Rollout:
        states = jax.vmap(lambda seed: env.reset(jax.random.key(seed), variation=names))(seeds)
        return rollout(env, policy, Start(states=states, seeds=seeds), max_steps, keep=lambda states, _: states)

    settings = collection_settings(
        env, policy, max_steps=max_steps, image_size=image_size, variation=None if names is None else list(names)
    )
    kind = format_of(path) if format is None else get_format(format)
    begun = begin(kind, dataset_path(path, kind), mode, settings, seed, episodes, note)
    for remark in env.remarks:
        note(remark)
    writer = begun.writer

    def fitting(episode: Episode) -> Episode:
        """An episode without its seed where the dataset has none, as earlier releases and the reference write them."""
        knows_seeds = not writer.columns or SEED in writer.columns
        return episode if knows_seeds else {name: column for name, column in episode.items() if name != SEED}

    def collected(run: Watched, columns: _Columns) -> Iterator[Episode]:
        seeds = jnp.zeros(size, jnp.int32)
        writer.check(fitting(columns.example(jax.eval_shape(play, policy, seeds))))
        program, _ = run.compile("compiling", play, policy, seeds)
        # Batches are those of a run that was not stopped, so that their programs give the same to the last bit.
        for first in range(begun.done // size * size, episodes, size):
            run.show("episodes")
            numbers = np.minimum(np.arange(first, first + size), episodes - 1)
            played = run.finish(program, policy, jnp.asarray(begun.seed + numbers, jnp.int32))
            rows = range(max(begun.done - first, 0), min(size, episodes - first))
            yield from map(fitting, columns.episodes(played, rows, begun.seed + first))
            writer.settle()

    before = writer.episodes - begun.done
    try:
        with watched(progress, note, begun.done) as run:
            columns = _Columns(env, image_size, factors, run)
            with writer:
                for episode in collected(run, columns):
                    writer.write_episode(episode)
                    run.done += 1
                    run.show("episodes")
                    if run.stop.asked:
                        break
            if columns.refused:
                note(
                    f"{columns.refused} of {columns.actions} actions were refused by the environment: not finite, or "
                    "no actions of a discrete space"
                )
            if run.done < episodes:
                raise Stopped(run.done)
    except Stopped:
        raise
    except KeyboardInterrupt:
        raise Stopped(writer.committed - before) from None
    except OSError as error:
        done = writer.committed - before
        if error.errno is None or not done:
            raise
        said = f"{error.strerror}; {done} of {episodes} episodes are kept, and the same call collects the others"
        raise OSError(error.errno, said, error.filename) from error
    return run.done


def check_collection(
    env: Env,
    episodes: int,
    max_steps: int,
    seed: int | None,
    variation: Sequence[str] | None = None,
    batch_size: int = 1,
    image_size: int | None = None,
) -> None:
    """ValueError unless `collect` can be run with these arguments."""
    sizes = {} if image_size is None else {"image_size": image_size}
    for name, value in ({"episodes": episodes, "max_steps": max_steps, "batch_size": batch_size} | sizes).items():
        check_count(name, value)
    first = 0 if seed is None else seed
    if not is_integer(first) or first < 0 or first + episodes - 1 > LAST_SEED:
        raise UserError(f"seed must be an integer of at least 0, and seed + episodes at most 2**31, got {seed!r}")
    if not isinstance(env.action_space, _ACTIONS):
        names = ", ".join(kind.__name__ for kind in _ACTIONS)
        raise UserError(f"{type(env).__name__} has the actions {env.action_space}; datasets hold those of a {names}")
    env.check_reset(None if variation is None else tuple(variation))


class _Columns:
    """From states to the columns of a dataset."""

    def __init__(self, env: Env, image_size: int | None, factors: Sequence[str], run: Watched):
        self._factors = factors
        self._run = run
        self._size = image_size
        self._render = jax.jit(lambda states: jax.lax.map(partial(frame, env, image_size), states))
        self._goal = jax.jit(lambda state: frame(env, image_size, env.set_state(state, state.info["goal_state"])))
        self._compiled: dict[Any, Any] = {}
        self.actions = self.refused = 0

    def example(self, played: Rollout) -> Episode:
        """An episode of one step, all zero, from the shapes of a batch."""
        kept = {name: getattr(played.kept, name) for name in _SHOWN}
        seen = jax.tree.map(lambda leaf: np.zeros((2, *leaf.shape[2:]), leaf.dtype), kept)
        frames: Episode = {}
        if self._size is not None:
            pictures = np.zeros((2, self._size, self._size, 3), np.uint8)
            frames = {"goal": pictures} if "goal_state" in seen["info"] else {}
            frames |= {"render_time": np.zeros(2), "pixels": pictures}
        return self._episode(seen, np.zeros((1, *played.actions.shape[2:]), played.actions.dtype), frames, 0)

    def episodes(self, played: Rollout, rows: Sequence[int], seed: int) -> Iterator[Episode]:
        """Episodes of a batch whose first has this seed, each cut at its end."""
        shown = jax.device_get({name: getattr(played.kept, name) for name in _SHOWN})
        actions, ends = np.asarray(played.actions), np.asarray(played.length)
        self._count(shown["info"]["invalid_action"][1:, rows], ends[rows])
        for i in rows:
            end = int(ends[i])
            seen = jax.tree.map(lambda leaf, i=i, end=end: np.array(leaf[: end + 1, i]), shown)
            frames = (
                self._frames(played.kept, i, end + 1, "goal_state" in seen["info"]) if self._size is not None else {}
            )
            yield self._episode(seen, actions[:end, i], frames, seed + i)

    def _count(self, refused: np.ndarray, ends: np.ndarray) -> None:
        """Remember how many actions of a batch were refused; a policy without a single good one collects nothing."""
        done = np.arange(len(refused))[:, None] < ends
        self.actions += int(done.sum())
        self.refused += int((refused & done).sum())
        if self.refused and self.refused == self.actions:
            raise UserError(
                f"every action of the policy is refused by the environment ({self.actions} so far): they are not "
                "finite, or no actions of a discrete space"
            )

    def _episode(self, seen: Any, actions: np.ndarray, frames: Episode, seed: int) -> Episode:
        # A cut that only the number of steps made is a truncation as well.
        seen["truncated"][-1] |= not seen["terminated"][-1]
        seen["reward"][0] = np.nan
        length = len(seen["reward"])
        actions = actions.astype(np.result_type(actions, np.float32))
        return {
            **{name: value for name, value in seen["info"].items() if name not in _BOOKKEEPING},
            **frames,
            **seen["obs"],
            **{name: seen[name] for name in ("reward", "terminated", "truncated")},
            "action": np.concatenate([actions, np.full_like(actions[:1], np.nan)]),
            ID: np.full(length, np.random.default_rng(seed).integers(2**63), np.int64),
            SEED: np.full(length, seed, np.int64),
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
