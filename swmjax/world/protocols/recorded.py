"""Recorded problems: start and goal states from a file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from envs_mjx import Env, State
from envs_mjx.checks import UserError
from envs_mjx.state_bounds import check_vectors
from swmjax.policies.rollout import Start
from swmjax.world.protocols.base import Protocol


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Recorded(Protocol):
    """Recorded problems, row i for episode i; a reset with the episode's seed fixes whatever they leave open.

    Attributes:
        starts: Start states [n, S], the environment's own vectors.
        goals: Goal states [n, S], likewise; each is shown, and is the goal.
        source: Where they come from, for messages.
        seed, variation, values: See `Protocol`.

    Source: reference, `world.py` (`evaluate_from_dataset`).
    """

    options = files = ("path",)
    places = True

    starts: Any
    goals: Any
    source: str = field(default="the problems", metadata={"static": True})

    @classmethod
    def make(cls, seed: int, **options: Any) -> "Recorded":
        """The protocol as settings describe it: `path` names the file."""
        if not isinstance(options.get("path"), str):
            raise UserError(f"protocol.path must be the path of an NPZ file, got {options.get('path')!r}")
        return cls.read(Path(options["path"]).expanduser(), seed)

    @classmethod
    def read(cls, path: str | Path, seed: int) -> "Recorded":
        """Problems of an NPZ file with the arrays `start` and `goal`, one row a problem; others are ignored.

        Raises:
            UserError: The file is missing, no such archive, or its arrays are no finite numbers of one shape [n, size].
        """
        expected = "NPZ with start and goal, arrays of one row for each problem"
        try:
            with np.load(path, allow_pickle=False) as archive:
                start, goal = (np.asarray(archive[name], np.float64) for name in ("start", "goal"))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or 'not readable'}; expected {expected}") from error
        except Exception as error:  # NumPy and the ZIP reader each raise their own kind
            raise UserError(f"{path}: expected {expected}") from error
        if start.ndim != 2 or start.shape != goal.shape or not start.size:
            raise UserError(
                f"{path}: start and goal have the shapes {start.shape} and {goal.shape}; expected {expected}"
            )
        for name, rows in (("start", start), ("goal", goal)):
            check_vectors(f"{path}: {name}", rows)
        return cls(
            np.asarray(seed, np.int32), jnp.asarray(start, jnp.float32), jnp.asarray(goal, jnp.float32), str(path)
        )

    def check(self, env: Env, name: str, episodes: int) -> None:
        """Refuse states of another size than the environment's, ones that cannot be, and more episodes than rows."""
        super().check(env, name, episodes)
        (size,) = jax.eval_shape(lambda: env.goal_from(env.reset(jax.random.key(0)))).shape
        count, entries = self.starts.shape
        if entries != size:
            raise UserError(f"{self.source}: its states have {entries} entries, those of {name} have {size}")
        for part, rows in (("start", self.starts), ("goal", self.goals)):
            env.check_state(rows, f"{self.source}: {part}")
        if episodes > count:
            raise UserError(f"episodes: {self.source} holds {count} problems, got {episodes}")

    def remarks(self, env: Env, name: str, reach: int, budget: int) -> tuple[str, ...]:
        """As every protocol, and on factors that would place what the file places."""
        remarks = super().remarks(env, name, reach, budget)
        if self.variation or self.values:
            remarks += (
                f"starts and goals are those of {self.source}: factors that would place them have no effect, though "
                "their values are recorded",
            )
        return remarks

    @property
    def count(self) -> int:
        """Number of problems."""
        return self.starts.shape[0]

    def start(self, env: Env, rows: Int[Array, " B"]) -> Start:
        """Fresh episodes moved to the recorded starts."""
        seeds = self.seed + rows

        def one(seed: Array, start: Array, goal: Array) -> tuple[State, State]:
            fresh = self.fresh(env, seed)
            return env.set_goal(env.set_state(fresh, start), goal), env.set_goal(env.set_state(fresh, goal), goal)

        states, goals = jax.vmap(one)(seeds, self.starts[rows], self.goals[rows])
        return Start(states=states, seeds=seeds, goals=goals)
