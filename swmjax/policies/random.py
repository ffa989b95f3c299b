"""Uniformly random actions."""

from dataclasses import dataclass, field

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.checks import UserError
from swmjax.policies.base import ActionBox, DrawCarry, Observations, Policy


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandomPolicy(Policy):
    """Uniformly random actions.

    Args:
        actions: Bounds of the environment's actions; see `of`.
    """

    actions: ActionBox = field(metadata={"static": True})

    @classmethod
    def of(cls, space: gymnasium.Space) -> "RandomPolicy":
        """Random actions of a space.

        Raises:
            UserError: The space is no one-axis Box with bounds.
        """
        if not isinstance(space, gymnasium.spaces.Box) or not np.isfinite([space.low, space.high]).all():
            raise UserError(f"random actions need a Box with bounds, got {space}")
        return cls(ActionBox.of(space))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def init(self, seeds: Int[Array, " B"], obs: Observations) -> DrawCarry:
        """Memory before the first step."""
        return DrawCarry.start(seeds)

    def act(
        self, carry: DrawCarry, obs: Observations, alive: Bool[Array, " B"]
    ) -> tuple[Float[Array, "B A"], DrawCarry]:
        """The next action of every episode."""
        keys, carry = carry.next()
        low, high = (jnp.asarray(bound, jnp.float32) for bound in (self.actions.low, self.actions.high))
        return jax.vmap(lambda key: jax.random.uniform(key, low.shape, jnp.float32, low, high))(keys), carry

    def reset(self, carry: DrawCarry, rows: Bool[Array, " B"]) -> DrawCarry:
        """The same memory: nothing is kept of what has been seen."""
        return carry
