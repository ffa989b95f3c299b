"""Problems from a file: recorded start and goal states instead of drawn ones."""

from collections.abc import Sequence
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from envs_mjx import Env, State
from envs_mjx.checks import UserError


@chex.dataclass(frozen=True)
class Problems:
    """Recorded problems, n of them.

    Attributes:
        start: start states, the environment's own vectors.
        goal: goal states, likewise.
    """

    start: Float[Array, "n S"]
    goal: Float[Array, "n S"]

    @property
    def count(self) -> int:
        """Number of problems."""
        return self.start.shape[0]

    def take(self, rows: Sequence[int]) -> "Problems":
        """Some of the problems."""
        return Problems(start=self.start[np.asarray(rows)], goal=self.goal[np.asarray(rows)])


def read_problems(path: str | Path) -> Problems:
    """Problems of an NPZ file with the arrays `start` and `goal`, one row for each problem; others are ignored.

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
        raise UserError(f"{path}: start and goal have the shapes {start.shape} and {goal.shape}; expected {expected}")
    if not (np.isfinite(start).all() and np.isfinite(goal).all()):
        raise UserError(f"{path}: start and goal must be finite")
    return Problems(start=jnp.asarray(start, jnp.float32), goal=jnp.asarray(goal, jnp.float32))


def set_problem(
    env: Env, seed: Int[Array, ""], start: Float[Array, " S"], goal: Float[Array, " S"]
) -> tuple[State, State]:
    """A recorded problem in a fresh episode.

    Args:
        env: The environment.
        seed: Number of the episode; a reset with it fixes whatever start and goal do not.
        start: Start state.
        goal: Goal state, which is the goal too.

    Returns:
        The start, whose goal is set, and the state that shows the goal.

    Source: reference, `world.py` (`evaluate_from_dataset`).
    """
    fresh = env.reset(jax.random.key(seed))
    return env.set_goal(env.set_state(fresh, start), goal), env.set_goal(env.set_state(fresh, goal), goal)
