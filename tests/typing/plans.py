"""What users write, for type checkers: `test_typing.py` has it checked as if it were a program of somebody else."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box

from swmjax.planning import (
    AskTellSolver,
    CategoricalCEMSolver,
    CEMSolver,
    CompositeSolver,
    EvosaxSolver,
    GradientSolver,
    GRASPSolver,
    ICEMSolver,
    LagrangianSolver,
    MPPISolver,
    NevergradSolver,
    PGDSolver,
    Plan,
    PredictiveSamplingSolver,
    RandomSolver,
    Solver,
    StepRecord,
    make_solver,
    solve,
    solve_batch,
)
from swmjax.planning.scoring import Scorer

SPACE = Box(-1.0, 1.0, (2,), np.float32)


def cost(actions: jax.Array) -> jax.Array:
    return jnp.square(actions).sum((1, 2))


def cost_of(problem: jax.Array, actions: jax.Array) -> jax.Array:
    return cost(actions - problem)


@dataclass(frozen=True)
class Nothing(Solver):
    """A solver of one's own."""

    n_steps: int = 1
    num_samples: int = 1

    def init(
        self,
        key: jax.Array,
        space: Box,
        horizon: int,
        warm_start: jax.Array | None = None,
        carry: None = None,
    ) -> jax.Array:
        return jnp.zeros((horizon, *space.shape))

    def step(self, state: jax.Array, scorer: Scorer) -> tuple[jax.Array, StepRecord]:
        return state, StepRecord(candidates=state[None], costs=scorer(state[None]))

    def finish(self, state: jax.Array, scorer: Scorer) -> Plan:
        return Plan(actions=state, cost=scorer(state[None])[0], status=jnp.zeros((), jnp.int32))


key = jax.random.key(0)
solve(AskTellSolver(), cost, SPACE, key, horizon=3)
solve(CEMSolver(num_samples=64), cost, SPACE, key, horizon=3)
solve(CategoricalCEMSolver(), cost, SPACE, key, horizon=3)
solve(CompositeSolver({"arm": CEMSolver()}), cost, SPACE, key, horizon=3)
solve(EvosaxSolver("SNES"), cost, SPACE, key, horizon=3)
solve(GRASPSolver(), cost, SPACE, key, horizon=3)
solve(GradientSolver(), cost, SPACE, key, horizon=3)
solve(ICEMSolver(), cost, SPACE, key, horizon=3)
solve(LagrangianSolver(), cost, SPACE, key, horizon=3, constraint_fn=lambda actions: actions[:, 0])
solve(MPPISolver(topk=None), cost, SPACE, key, horizon=3)
solve(NevergradSolver("CMA"), cost, SPACE, key, horizon=3)
solve(Nothing(), cost, SPACE, key, horizon=3)
solve(PGDSolver(), cost, SPACE, key, horizon=3)
solve(PredictiveSamplingSolver(), cost, SPACE, key, horizon=3)
solve(RandomSolver(), cost, SPACE, key, horizon=3)

plan: Plan = jax.jit(lambda key: solve(make_solver("cem"), cost, SPACE, key, horizon=3))(key)
shorter: Plan = plan.replace(actions=plan.actions[:1])
first: jax.Array = shorter.trace["best_cost"]
plans = solve_batch(CEMSolver(), cost_of, jnp.zeros((4, 3, 2)), SPACE, key, horizon=3, warm_start=first)
total: jax.Array = plans.cost.sum()
