"""Actions of several parts as one vector."""

import math
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from envs_mjx.checks import UserError
from envs_mjx.state import State
from envs_mjx.wrappers.base import Wrapper


@dataclass(frozen=True)
class FlatAction(Wrapper):
    """An environment whose action is a vector of all parts of the action inside, in the order of its space.

    Args:
        env: the environment inside; its actions are a `Dict` of Boxes.

    Raises:
        UserError: its actions are something else.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._parts  # noqa: B018

    @property
    def _parts(self) -> dict[str, gymnasium.spaces.Box]:
        space = self.env.action_space
        if not isinstance(space, gymnasium.spaces.Dict):
            raise UserError(f"FlatAction needs an environment with a Dict of Boxes as actions, got {space}")
        parts = {}
        for name, part in space.spaces.items():
            if not isinstance(part, gymnasium.spaces.Box):
                raise UserError(f"FlatAction needs Boxes as parts of the action, got {part} as {name}")
            parts[name] = part
        return parts

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """All parts, one after the other."""
        parts = self._parts.values()
        low = np.concatenate([part.low.ravel() for part in parts])
        high = np.concatenate([part.high.ravel() for part in parts])
        return gymnasium.spaces.Box(low, high, dtype=low.dtype.type)

    def _advance(self, state: State, action: Array) -> State:
        parts, start = {}, 0
        for name, part in self._parts.items():
            end = start + math.prod(part.shape)
            parts[name] = action[start:end].reshape(part.shape)
            start = end
        return self.env._advance(state, parts)

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Any:
        """The parts of the behaviour policy's action, one after the other."""
        action = self.env.behaviour_action(key, state)
        return jnp.concatenate([action[name].ravel() for name in self._parts])
