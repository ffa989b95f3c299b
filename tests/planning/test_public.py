"""What `swmjax.planning` offers, what of it has moved, and how plans are shown."""

import functools
import importlib

import jax
import jax.numpy as jnp
import pytest
from planning.cases import BOX, HORIZON, SIZE, TARGET, quadratic

from swmjax import planning
from swmjax.planning import SOLVERS, CEMSolver, GRASPSolver, solve, solve_batch
from swmjax.planning.costs.transitions import ProblemTransitions, TransitionCost

SHOWN = """AskTellSolver CEMSolver CategoricalCEMSolver CompositeSolver EvosaxSolver GRASPSolver GoalMSE GradientSolver
    ICEMSolver LagrangianSolver MPPISolver NevergradSolver PGDSolver PlanConfig PredictiveSamplingSolver RandomSolver
    SOLVERS block_space make_solver one_hot shooting_cost solve solve_batch""".split()
"""Names that README, docs and examples import from `swmjax.planning`."""
MOVED = {
    "ActionNorm": "metrics",
    "DEFAULT_METRICS": "metrics",
    "GoalL1": "costs.objectives",
    "HostSolver": "host",
    "LagrangianCarry": "solvers.lagrangian",
    "PlanCarry": "receding",
    "ProblemTransitions": "costs.transitions",
    "Scorer": "scoring",
    "TransitionCost": "costs.transitions",
    "auto_chunk": "memory",
    "from_one_hot": "spaces",
    "latent_constraints": "costs.latent",
}


@pytest.mark.parametrize("name", SHOWN)
def test_names_of_the_documentation(name):
    assert getattr(planning, name) is not None


@pytest.mark.parametrize("name", MOVED)
def test_names_that_moved_say_where(name):
    module = f"swmjax.planning.{MOVED[name]}"
    with pytest.warns(DeprecationWarning, match=f"swmjax.planning.{name} is now {module}.{name}"):
        found = getattr(planning, name)
    assert found is getattr(importlib.import_module(module), name)


def test_names_that_never_were():
    with pytest.raises(AttributeError, match=r"module 'swmjax.planning' has no attribute 'CEMSolvers'"):
        planning.CEMSolvers


def test_a_solver_goes_by_the_name_of_its_file():
    assert SOLVERS["cem"] is CEMSolver
    assert all(one.__module__ == f"swmjax.planning.solvers.{name}" for name, one in SOLVERS.items())


def test_costs_that_are_transitions_as_before():
    def of(goal):
        start = jnp.zeros_like(goal)
        return TransitionCost(
            lambda actions: jnp.sum(jnp.square(actions.sum(1) - goal[None]), axis=1),
            start=start,
            goal=goal,
            predict=lambda states, actions: states + actions,
            rollout=lambda actions: jnp.cumsum(actions, axis=1),
        )

    solver, goal = GRASPSolver(n_steps=2, sync_every=0), TARGET.sum(0)
    with pytest.warns(DeprecationWarning, match="TransitionCost becomes the argument transitions"):
        old = solve(solver, of(goal), BOX, jax.random.key(0), HORIZON)
    new = solve(solver, of(goal).cost_fn, BOX, jax.random.key(0), HORIZON, transitions=of(goal).transitions)
    assert jnp.array_equal(old.actions, new.actions)
    with pytest.warns(DeprecationWarning, match="ProblemTransitions becomes the argument transitions"):
        batch = solve_batch(solver, ProblemTransitions(of), goal[None], BOX, jax.random.key(0)[None], HORIZON)
    assert jnp.allclose(batch.actions[0], new.actions, atol=1e-6)


def test_plans_are_shown_in_a_few_lines_and_replaced():
    run = functools.partial(solve, CEMSolver(num_samples=24, n_steps=4, topk=5), functools.partial(quadratic, TARGET))
    plan = run(BOX, jax.random.key(0), HORIZON).replace(cost=jnp.asarray(0.25))
    assert repr(plan).splitlines() == [
        "Plan(",
        f"  actions: float32[{HORIZON}, {SIZE}]",
        "  cost: 0.25",
        "  status: OK",
        "  trace: best_cost float32[4], elite_cost float32[4], non_finite int32[4]",
        ")",
    ]
    batch = jax.tree.map(lambda leaf: leaf[None], plan)
    assert "  cost: float32[1]" in repr(batch)
    seen = []
    jax.jit(lambda plan: seen.append(repr(plan)))(plan)
    assert "  cost: float32[]" in seen[0]
