"""What tests of evaluations share: a toy environment with goals under an id, and the program as users have it."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import jaxtyping
from toy_env import PointEnv

from envs_mjx import registry

ID = "test/Goal-v0"


@dataclass(frozen=True)
class GoalEnv(PointEnv):
    """The point environment whose `success` and `terminated` always tell whether the goal is reached."""

    def _observed(self, state):
        reached = jnp.abs(state.physics - state.goal)[0] < 0.1
        return dataclasses.replace(super()._observed(state), success=reached, terminated=reached)


@contextlib.contextmanager
def registered() -> Iterator[str]:
    """Put `GoalEnv` into the registry for a while."""
    registry._SPECS[ID] = registry.Spec(id=ID, entry_point="goal_env:GoalEnv")
    try:
        yield ID
    finally:
        del registry._SPECS[ID]


@contextlib.contextmanager
def unchecked_types() -> Iterator[None]:
    """Switch the tests' type checks off, so that a value of a wrong type meets the error that users get."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
