"""Searches on the host: what they share, and nevergrad's where it is installed."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded_costs import quad

from envs_mjx.checks import MissingExtraError
from swmjax.planning import BestCost, NevergradSolver, Status, solve, solve_batch
from swmjax.planning.host import HostSolver
from swmjax.planning.metrics import Cloud, NonFinite

SPACE = Box(-1.0, 1.0, (2,), np.float32)
TARGET = jnp.asarray([[0.5, -0.2], [0.1, 0.9], [-0.6, 0.3]])
WARM_START = jnp.asarray([[0.25, -0.5]])


def cost(actions):
    return quad(TARGET.astype(actions.dtype), actions)


class Walk:
    """Noise around the best candidate so far."""

    def __init__(self, seed, nominal):
        self.random, self.best, self.cost, self.told = np.random.default_rng(seed), nominal, np.inf, []

    def ask(self):
        self.asked = self.best[None] + 0.2 * self.random.normal(size=(12, *self.best.shape))
        self.asked[0] = self.best
        return self.asked

    def tell(self, costs):
        assert np.isfinite(costs).all()
        assert costs.shape == (12,)
        index = costs.argmin()
        if costs[index] < self.cost:
            self.best, self.cost = self.asked[index], costs[index]


@dataclass(frozen=True)
class WalkSolver(HostSolver):
    n_steps: int = 30

    def start(self, key, space, nominal):
        return Walk(int(jax.random.bits(key)), nominal)


def test_best_candidate_of_a_search_is_the_plan():
    seen = []
    plan = solve(
        WalkSolver(),
        cost,
        SPACE,
        jax.random.key(0),
        3,
        WARM_START,
        metrics=(BestCost(), Cloud(4)),
        on_step=lambda step, row: seen.append((int(step), float(row["best_cost"]))),
        candidate_chunk=5,
    )
    assert plan.status == Status.OK
    np.testing.assert_allclose(plan.actions, TARGET, atol=0.15)
    np.testing.assert_allclose(plan.cost, cost(plan.actions[None])[0], rtol=1e-5)
    assert plan.cost == plan.trace["best_cost"].min()
    assert plan.trace["cloud"].shape == (30, 4, 2)
    np.testing.assert_allclose(plan.trace["cloud"][0, 0], WARM_START[0])
    assert [step for step, _ in seen] == list(range(30))
    np.testing.assert_array_equal([value for _, value in seen], plan.trace["best_cost"])


def test_problems_have_their_own_searches_and_fail_alone():
    traces = []

    def one(target, actions):
        traces.append(1)
        return quad(target, actions)

    targets, keys = jnp.stack([TARGET, TARGET * jnp.nan, -TARGET]), jax.random.split(jax.random.key(0), 3)
    start = jnp.stack([WARM_START] * 3)
    plans = solve_batch(WalkSolver(), one, targets, SPACE, keys, 3, start, metrics=(NonFinite(),), candidate_chunk=5)
    np.testing.assert_array_equal(plans.status, [Status.OK, Status.NO_FINITE_COST, Status.OK])
    np.testing.assert_array_equal(plans.actions[1], np.pad(WARM_START, ((0, 2), (0, 0))))
    assert plans.cost[1] == jnp.inf
    np.testing.assert_array_equal(plans.trace["non_finite"][:, 0], [0, 12, 0])
    single = solve(WalkSolver(), lambda a: quad(-TARGET, a), SPACE, keys[2], 3, WARM_START)
    np.testing.assert_allclose(plans.actions[2], single.actions, atol=1e-6)
    count = len(traces)
    solve_batch(WalkSolver(), one, targets + 1, SPACE, keys, 3, start, metrics=(NonFinite(),), candidate_chunk=5)
    assert len(traces) == count


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtypes_stay(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        plan = solve(WalkSolver(n_steps=3), cost, SPACE, jax.random.key(0), 3, WARM_START.astype(dtype))
        assert plan.actions.dtype == dtype
        assert plan.cost.dtype == jnp.promote_types(dtype, jnp.float32)


def test_transformations_are_refused():
    solver = WalkSolver(n_steps=2)
    message = "WalkSolver searches on the host and cannot be inside jit, vmap, grad or scan"
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda key: solve(solver, cost, SPACE, key, 3).actions)(jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda t: solve(solver, lambda a: quad(t, a), SPACE, jax.random.key(0), 3).cost)(TARGET)


def test_nevergrad_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nevergrad", None)
    with pytest.raises(
        MissingExtraError, match=r"NevergradSolver needs nevergrad, which is not installed: pip install 'swmjax\[search"
    ):
        NevergradSolver()


needs_nevergrad = pytest.mark.skipif(
    find_spec("nevergrad") is None,
    reason="nevergrad is not installed; pip install 'swmjax[search]'",
)


@needs_nevergrad
@pytest.mark.parametrize(("optimizer", "left"), [("CMA", 0.01), ("DE", 0.3), ("NgIohTuned", 0.3)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nevergrad_comes_near_the_optimum(optimizer, left):
    solver = NevergradSolver(optimizer, num_samples=20, n_steps=25)
    plan = solve(solver, cost, SPACE, jax.random.key(0), 3, WARM_START, metrics=(BestCost(), Cloud(20)))
    np.testing.assert_allclose(plan.trace["cloud"][0, 0], WARM_START[0], atol=1e-5)
    assert jnp.max(jnp.abs(plan.trace["cloud"])) <= 1
    start = jnp.pad(WARM_START, ((0, 2), (0, 0)))
    assert plan.cost < left * cost(start[None])[0]
    np.testing.assert_allclose(plan.cost, cost(plan.actions[None])[0], rtol=1e-4, atol=1e-5)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    again = solve(solver, cost, SPACE, jax.random.key(0), 3, WARM_START)
    np.testing.assert_array_equal(plan.actions, again.actions)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    other = solve(solver, cost, SPACE, jax.random.key(1), 3, WARM_START)
    assert not np.array_equal(plan.actions, other.actions)


@needs_nevergrad
def test_nevergrad_outside_of_the_bounds_and_with_costs_that_are_not_finite():
    far = jnp.full((3, 2), 2.5)

    def spoiled(target, actions):
        return jnp.where(jnp.arange(20) % 3 == 1, jnp.nan, quad(target, actions))

    solver = NevergradSolver("CMA", num_samples=20, n_steps=30, clip="none")
    keys = jax.random.split(jax.random.key(0), 2)
    plans = solve_batch(solver, spoiled, jnp.stack([far, -far]), SPACE, keys, 3)
    np.testing.assert_allclose(plans.actions, jnp.stack([far, -far]), atol=0.5)
    bounded = NevergradSolver("CMA", num_samples=20, n_steps=2)
    with pytest.raises(ValueError, match="NevergradSolver needs finite bounds of the action space, or clip='none'"):
        solve(bounded, cost, Box(-np.inf, np.inf, (2,), np.float32), keys[0], 3)


@needs_nevergrad
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "NgIohTune"}, "NevergradSolver.optimizer must be a name .*did you mean 'NgIohTuned'"),
        ({"num_samples": 0}, "NevergradSolver.num_samples must be at least 1, got 0"),
        ({"n_steps": 0}, "NevergradSolver.n_steps must be at least 1, got 0"),
    ],
)
def test_hyperparameters_are_validated(options, message):
    with pytest.raises(ValueError, match=message):
        NevergradSolver(**options)
