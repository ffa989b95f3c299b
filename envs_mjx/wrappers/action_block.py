"""Several actions as one."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from envs_mjx.checks import UserError, check_count
from envs_mjx.state import State
from envs_mjx.wrappers.base import Wrapper


@dataclass(frozen=True)
class ActionBlock(Wrapper):
    """An environment whose action is a block of actions of the one inside, done one after the other.

    The rewards of a block are added up, and what comes after the end of an episode is not done. `State.step` goes on
    counting the steps of the environment inside.

    Args:
        env: the environment inside; its actions are vectors.
        size: actions a block.

    Raises:
        UserError: `size` is no integer of at least 1, or the actions are no one-axis Box.
    """

    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("ActionBlock.size", self.size)
        self._single  # noqa: B018

    @property
    def _single(self) -> gymnasium.spaces.Box:
        space = self.env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise UserError(f"ActionBlock needs an environment with a one-axis Box of actions, got {space}")
        return space

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """The actions of a block, joined in their order."""
        low, high = (np.tile(bound, self.size) for bound in (self._single.low, self._single.high))
        return gymnasium.spaces.Box(low, high, dtype=self._single.dtype)  # type: ignore[arg-type]

    def _advance(self, state: State, action: Array) -> State:
        actions = action.reshape(self.size, *self._single.shape)
        going = jnp.asarray(True)

        def advance(carry: tuple[State, Array, Array], action: Array) -> tuple[Any, None]:
            before, total, going = carry
            after = self.env._step(before, action)
            after = jax.tree.map(lambda new, old: jnp.where(going, new, old), after, before)
            total = total + jnp.where(going, after.reward, 0)
            return (after, total, going & ~after.terminated & ~after.truncated), None

        start = (state, jnp.zeros_like(state.reward), going)
        (after, total, _), _ = jax.lax.scan(advance, start, actions)
        return after.replace(reward=total)

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Array:
        """A block of actions of the behaviour policy, each for the state that the ones before it lead to."""

        def advance(state: State, key: Key[Array, ""]) -> tuple[State, Array]:
            action = self.env.behaviour_action(key, state)
            return self.env._step(state, action), action

        return jax.lax.scan(advance, state, jax.random.split(key, self.size))[1].reshape(-1)
