"""Uniformly random actions."""

from dataclasses import dataclass, field

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key, Shaped

from envs_mjx.checks import UserError
from swmjax.policies.base import ActionBox, DrawCarry, Observations, Policy


@dataclass(frozen=True)
class ActionChoices:
    """Whole numbers from `low` to below `high`: a Discrete or one-axis MultiDiscrete space that can be hashed.

    Args:
        low: The lowest of every number; one number, and no tuple, for a Discrete space.
        high: The first that is too high.
    """

    low: int | tuple[int, ...]
    high: int | tuple[int, ...]

    def draw(self, key: Key[Array, ""]) -> Int[Array, "..."]:
        """A uniformly random action."""
        low, high = jnp.asarray(self.low, jnp.int32), jnp.asarray(self.high, jnp.int32)
        return jax.random.randint(key, low.shape, low, high)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandomPolicy(Policy):
    """Uniformly random actions.

    Args:
        actions: What the environment's actions may be; see `of`.
    """

    actions: ActionBox | ActionChoices = field(metadata={"static": True})

    @classmethod
    def of(cls, space: gymnasium.Space) -> "RandomPolicy":
        """Random actions of a space.

        Raises:
            UserError: The space is no one-axis Box with bounds, no Discrete and no one-axis MultiDiscrete.
        """
        if isinstance(space, gymnasium.spaces.Box) and np.isfinite([space.low, space.high]).all():
            return cls(ActionBox.of(space))
        if isinstance(space, gymnasium.spaces.Discrete):
            return cls(ActionChoices(int(space.start), int(space.start + space.n)))
        if isinstance(space, gymnasium.spaces.MultiDiscrete) and len(space.shape) == 1:
            return cls(ActionChoices(tuple(space.start.tolist()), tuple((space.start + space.nvec).tolist())))
        raise UserError(f"random actions need a Box with bounds, a Discrete or a MultiDiscrete, got {space}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def init(self, seeds: Int[Array, " B"], obs: Observations) -> DrawCarry:
        """Memory before the first step."""
        return DrawCarry.start(seeds)

    def act(
        self, carry: DrawCarry, obs: Observations, alive: Bool[Array, " B"]
    ) -> tuple[Shaped[Array, "B ..."], DrawCarry]:
        """The next action of every episode."""
        keys, carry = carry.next()
        return jax.vmap(self.actions.draw)(keys), carry

    def reset(self, carry: DrawCarry, rows: Bool[Array, " B"]) -> DrawCarry:
        """The same memory: nothing is kept of what has been seen."""
        return carry
