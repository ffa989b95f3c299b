"""Whole episodes, as the environment begins and ends them."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from envs_mjx import Env
from swmjax.policies.rollout import Start
from swmjax.world.protocols.base import Protocol


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Episodic(Protocol):
    """Episodes that begin with a reset and last until the environment ends them, or the budget is spent.

    The goal, where there is one, is the environment's own.

    Source: reference, `world.py` (`evaluate` without a dataset).
    """

    until = "end"

    @classmethod
    def make(cls, seed: int, **options: Any) -> "Episodic":
        """The protocol as settings describe it."""
        return cls(np.asarray(seed, np.int32), **options)

    def start(self, env: Env, rows: Int[Array, " B"]) -> Start:
        """Fresh episodes, and the states that show their goals."""
        seeds = self.seed + rows
        states = jax.vmap(lambda seed: self.fresh(env, seed))(seeds)
        goals = None
        if env.reaches_goals and "goal_state" in states.info:
            goals = jax.vmap(lambda state: env.set_state(state, state.info["goal_state"]))(states)
        return Start(states=states, seeds=seeds, goals=goals)
