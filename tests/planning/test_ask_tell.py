"""Evolution strategies behind ask and tell: a small one of our own, and those of evosax where it is installed."""

import sys
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from planning.recorded_costs import quad

from envs_mjx.checks import MissingExtraError
from swmjax.planning import AskTellSolver, CEMSolver, CompositeSolver, EvosaxSolver, Status, solve, solve_batch
from swmjax.planning.population import finite_stand_ins
from swmjax.planning.scoring import Scorer

SPACE = Box(-1.0, 1.0, (2,), np.float32)
TARGET = jnp.asarray([[0.5, -0.2], [0.1, 0.9], [-0.6, 0.3]])


@dataclass(frozen=True)
class OnePlusMany:
    """The parent moves to its best child if that is better; the spread grows on success and shrinks without."""

    num_samples: int = 16
    spread: float = 0.5

    def init(self, key, mean):
        return {"parent": mean, "cost": jnp.inf, "spread": self.spread, "told": 0}

    def ask(self, key, state):
        children = state["parent"][None] + state["spread"] * jax.random.normal(key, (self.num_samples, 6))
        return children, state | {"told": state["told"] + 1}

    def tell(self, key, state, population, costs):
        index = jnp.argmin(costs)
        better = costs[index] < state["cost"]
        return {
            "parent": jnp.where(better, population[index], state["parent"]),
            "cost": jnp.minimum(costs[index], state["cost"]),
            "spread": state["spread"] * jnp.where(better, 1.3, 0.8),
            "told": state["told"],
        }


def cost(actions):
    return quad(TARGET.astype(actions.dtype), actions)


SOLVER = AskTellSolver(strategy=OnePlusMany(), n_steps=80)


def test_strategy_reaches_the_optimum_and_its_best_is_the_plan():
    plan = jax.jit(lambda key: solve(SOLVER, cost, SPACE, key, 3))(jax.random.key(0))
    assert plan.status == Status.OK
    np.testing.assert_allclose(plan.actions, TARGET, atol=0.03)
    np.testing.assert_allclose(plan.cost, cost(plan.actions[None])[0], rtol=1e-4)
    assert plan.cost == plan.trace["best_cost"].min()


def test_the_driver_does_what_a_plain_loop_does():
    strategy, key = OnePlusMany(), jax.random.key(4)
    plan = solve(AskTellSolver(strategy=strategy, n_steps=3), cost, SPACE, key, 3, jnp.asarray([[0.2, 0.3]]))
    key, init_key = jax.random.split(key)
    state, best = strategy.init(init_key, jnp.asarray([0.2, 0.3, 0, 0, 0, 0])), np.inf
    for step in range(3):
        ask_key, tell_key = jax.random.split(jax.random.fold_in(key, step))
        population, state = strategy.ask(ask_key, state)
        costs = cost(population.reshape(-1, 3, 2))
        state = strategy.tell(tell_key, state, population, costs)
        best = min(best, float(costs.min()))
    assert state["told"] == 3
    np.testing.assert_allclose(plan.cost, best, rtol=1e-6)
    np.testing.assert_allclose(plan.actions.reshape(-1), state["parent"], atol=1e-6)


def test_state_that_ask_changes_reaches_tell():
    state = SOLVER.init(jax.random.key(0), SPACE, 3)
    for _ in range(2):
        state, _ = SOLVER.step(state, Scorer(cost))
    assert state.strategy["told"] == 2


def test_populations_without_a_finite_cost_are_not_told():
    state, _ = SOLVER.step(SOLVER.init(jax.random.key(0), SPACE, 3), Scorer(cost))
    after, _ = SOLVER.step(state, Scorer(lambda a: jnp.full(16, jnp.nan)))
    for left, right in zip(jax.tree.leaves(state.strategy), jax.tree.leaves(after.strategy), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(after.best, state.best)


def test_stand_ins_are_finite_and_rank_last():
    costs = jnp.asarray([3.0, jnp.inf, -5.0, jnp.inf])
    np.testing.assert_array_equal(finite_stand_ins(costs), [3, 11, -5, 11])
    np.testing.assert_array_equal(finite_stand_ins(jnp.asarray([2.0, jnp.inf])), [2, 3])
    np.testing.assert_array_equal(finite_stand_ins(jnp.full(2, jnp.inf)), 0)


def test_clip_to_bounds_is_an_option():
    solver = AskTellSolver(strategy=OnePlusMany(spread=3.0), n_steps=1, clip="bounds")
    candidates = solver.propose(solver.init(jax.random.key(0), SPACE, 3))
    assert jnp.max(jnp.abs(candidates)) == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtypes_stay(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        plan = solve(SOLVER, cost, SPACE, jax.random.key(0), 3, jnp.zeros((1, 2), dtype))
        assert plan.actions.dtype == dtype
        assert plan.cost.dtype == jnp.promote_types(dtype, jnp.float32)


def test_problems_of_a_batch_and_parts_of_a_dict():
    plans = solve_batch(SOLVER, quad, jnp.stack([TARGET, -TARGET]), SPACE, jax.random.key(0), 3)
    np.testing.assert_allclose(plans.actions, jnp.stack([TARGET, -TARGET]), atol=0.05)
    parts = CompositeSolver({"a": SOLVER, "b": CEMSolver(num_samples=16, n_steps=80, topk=4)})
    plan = solve(
        parts, lambda c: cost(c["a"]) + cost(c["b"]), Dict({"a": SPACE, "b": SPACE}), jax.random.key(0), horizon=3
    )
    np.testing.assert_allclose(plan.actions["a"], TARGET, atol=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": 3}, "AskTellSolver.strategy must have num_samples, init, ask, tell, got 3"),
        ({"strategy": OnePlusMany(num_samples=0)}, "AskTellSolver.strategy.num_samples must be at least 1, got 0"),
        ({"strategy": OnePlusMany(), "n_steps": 0}, "AskTellSolver.n_steps must be at least 1, got 0"),
    ],
)
def test_hyperparameters_are_validated(options, message):
    with pytest.raises(ValueError, match=message):
        AskTellSolver(**options)


def test_evosax_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "evosax", None)
    monkeypatch.setitem(sys.modules, "evosax.algorithms", None)
    with pytest.raises(
        MissingExtraError, match=r"EvosaxSolver needs evosax, which is not installed: pip install 'swmjax\[search\]'"
    ):
        EvosaxSolver()


@pytest.mark.parametrize("algorithm", ["CMA_ES", "Sep_CMA_ES", "SNES"])
def test_evosax_reaches_the_optimum(algorithm):
    pytest.importorskip("evosax", reason="evosax is not installed; pip install 'swmjax[search]'")
    solver = EvosaxSolver(algorithm, num_samples=40, n_steps=60, var_scale=0.5)
    plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, 3))(jax.random.key(0))
    np.testing.assert_allclose(plan.actions, TARGET, atol=0.02)
    np.testing.assert_allclose(plan.cost, cost(plan.actions[None])[0], atol=1e-5)


def test_evosax_keeps_the_promises():
    pytest.importorskip("evosax", reason="evosax is not installed; pip install 'swmjax[search]'")
    solver = EvosaxSolver(num_samples=20, n_steps=20, var_scale=0.5, clip="bounds", options={"std_max": 2.0})
    assert hash(solver) == hash(EvosaxSolver("CMA_ES", 20, 20, 0.5, (("std_max", 2.0),), "bounds"))

    def spoiled(target, actions):
        return jnp.where(jnp.arange(20) % 3 == 1, jnp.nan, quad(target, actions))

    plans = solve_batch(solver, spoiled, jnp.stack([TARGET, TARGET * jnp.nan]), SPACE, jax.random.key(0), 3)
    np.testing.assert_array_equal(plans.status, [Status.OK, Status.NO_FINITE_COST])
    np.testing.assert_allclose(plans.actions[0], TARGET, atol=0.3)
    np.testing.assert_array_equal(plans.actions[1], 0)
    with jax.enable_x64(True):
        plan = solve(solver, cost, SPACE, jax.random.key(0), 3, jnp.zeros((1, 2), jnp.float64))
        assert plan.actions.dtype == jnp.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "CMA"}, "EvosaxSolver.algorithm must be one of .*'CMA_ES'.*, got 'CMA'"),
        ({"algorithm": "PSO"}, "EvosaxSolver.algorithm must be one of .*, got 'PSO'"),
        ({"algorithm": "HillClimbing", "var_scale": 2.0}, "EvosaxSolver.var_scale must be 1 for HillClimbing, got 2.0"),
        ({"options": {"speed": 1}}, "EvosaxSolver.options must be one of .*'std_init'.*, got 'speed'"),
    ],
)
def test_evosax_options_are_validated(options, message):
    pytest.importorskip("evosax", reason="evosax is not installed; pip install 'swmjax[search]'")
    with pytest.raises(ValueError, match=message):
        EvosaxSolver(**options)
