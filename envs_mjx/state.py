"""The state of an environment: everything that changes in it, as one pytree."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

CHANGING = ("physics", "obs", "reward", "success", "terminated", "truncated", "info")
"""What a step or another state changes, beside the step counter; goal, factors and key stay."""


@chex.dataclass(frozen=True)
class State:
    """Everything that changes in an environment, as one pytree of fixed structure and dtypes.

    Under `vmap` every leaf gains leading batch axes, so the shapes below are those of one environment.

    Attributes:
        physics: the environment's own pytree (positions, velocities, contact caches).
        obs: observation by name, contained in `Env.observation_space`.
        reward: scalar reward of the last step, 0 after a reset.
        success: scalar, whether the task is solved; always False where a task cannot be, but goes on until the robot
            falls, the player dies or time is over.
        terminated: scalar, whether the task ended, by the reference's rule: in success, for goal tasks.
        truncated: scalar, whether the episode was cut.
        info: further arrays by name; the same names at reset and at every step. `invalid_action` tells whether the
            last action was refused, `invalid_state` whether a state or goal that cannot be was given since the reset.
        goal: the goal in the environment's own form, an array or a pytree.
        factors: value of every factor of variation by dotted name.
        key: typed random key; the only source of randomness.
        step: scalar int, steps since the reset.
    """

    physics: Any
    obs: dict[str, Array]
    reward: Float[Array, "*batch"]
    success: Bool[Array, "*batch"]
    terminated: Bool[Array, "*batch"]
    truncated: Bool[Array, "*batch"]
    info: dict[str, Any]
    goal: Any
    factors: dict[str, Array]
    key: Array
    step: Int[Array, "*batch"]

    if TYPE_CHECKING:  # chex adds it, where type checkers do not see it

        def replace(self, **changes: Any) -> Self:
            """The state with other values of some attributes."""

    def __repr__(self) -> str:
        """Shapes and dtypes, since the numbers would fill a screen."""
        lines = [f"  {field.name}: {outline(getattr(self, field.name))}" for field in dataclasses.fields(self)]
        return "\n".join(["State(", *lines, ")"])


def outline(tree: Any) -> str:
    """Shapes and dtypes of what is named in a pytree; of one without names, how many arrays it has."""
    if isinstance(tree, Mapping):
        return ", ".join(f"{name} {outline(value)}" for name, value in tree.items()) or "nothing"
    if hasattr(tree, "dtype"):
        return f"{tree.dtype}{list(tree.shape)}"
    return f"{type(tree).__name__} of {len(jax.tree.leaves(tree))} arrays"


def choose(good: Bool[Array, ""], after: State, before: State, names: Sequence[str] = CHANGING) -> State:
    """The state after, but these parts of it as before unless it is good."""
    return after.replace(
        **{
            name: jax.tree.map(lambda a, b: jnp.where(good, a, b), getattr(after, name), getattr(before, name))
            for name in names
        }
    )
