"""What a file of a solver of one's own would be."""

from dataclasses import dataclass

import jax.numpy as jnp

from swmjax.planning import Plan, Solver, StepRecord
from swmjax.planning.spaces import nominal_actions


@dataclass(frozen=True)
class ForwardSolver(Solver):
    """Go on by the same amount.

    Source: nobody 2026.
    """

    pace: float = 1.0
    n_steps: int = 1
    num_samples: int = 1

    def init(self, key, space, horizon, warm_start=None, carry=None):
        return nominal_actions(space, horizon, warm_start) * 0.0 + self.pace

    def step(self, state, scorer):
        return state, StepRecord(candidates=state[None], costs=scorer(state[None]))

    def finish(self, state, scorer):
        return Plan(actions=state, cost=scorer(state[None])[0], status=jnp.zeros((), jnp.int32))
