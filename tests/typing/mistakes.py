"""What type checkers refuse: every line that says so, and no other. Nothing runs this file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from gymnasium.spaces import Box

from swmjax.planning import CEMSolver, Plan, Solver, StepRecord, solve
from swmjax.planning.scoring import Scorer

Cost = Callable[[jax.Array], jax.Array]


def mistaken(cost: Cost, space: Box, key: jax.Array) -> None:
    solve("cem", cost, space, key, horizon=3)  # mistake
    solve(CEMSolver(num_sample=3), cost, space, key, horizon=3)  # mistake
    solve(CEMSolver(), cost, space, key, horizons=3)  # mistake
    plan = solve(CEMSolver(), cost, space, key, horizon=3)
    plan.actoins  # mistake
    plan.cost = key  # mistake
    Plan(action=key, cost=key, status=key)  # mistake


@dataclass(frozen=True)
class Unfinished(Solver):
    n_steps: int = 1
    num_samples: int = 1

    def init(self, key: Any, space: Box, horizon: int, warm_start: Any = None, carry: Any = None) -> Any:
        return key

    def step(self, state: Any, scorer: Scorer) -> tuple[Any, StepRecord]:
        return state, StepRecord(candidates=state, costs=scorer(state))


Unfinished()  # mistake
