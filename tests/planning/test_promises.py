"""Promises that every solver keeps, in one matrix over the registry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box

from swmjax.planning import SOLVERS, Status, make_solver, solve, solve_batch

SPACE = Box(-1.0, 1.0, (4,), np.float32)
SMALL = {"cem": {"num_samples": 24, "n_steps": 4, "topk": 5}}
HORIZON = 3
TARGET = jnp.linspace(-0.8, 0.8, HORIZON * 4).reshape(HORIZON, 4)

pytestmark = pytest.mark.parametrize("name", sorted(SOLVERS))


def cost(target, actions):
    return jnp.sum(jnp.square(actions - target.astype(actions.dtype)[None]), axis=(1, 2))


def make(name):
    return make_solver(name, SMALL[name])


def plan_for(solver, key, target=TARGET, warm_start=None):
    return solve(solver, functools.partial(cost, target), SPACE, key, HORIZON, warm_start)


def assert_equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_solvers_are_hashable_hyperparameters(name):
    assert make(name) == make(name)
    assert hash(make(name)) == hash(make(name))


def test_planning_improves_on_the_warm_start(name):
    plan = plan_for(make(name), jax.random.key(0))
    assert plan.actions.shape == (HORIZON, 4)
    assert plan.status == Status.OK
    assert cost(TARGET, plan.actions[None])[0] < 0.7 * cost(TARGET, jnp.zeros((1, HORIZON, 4)))[0]
    assert plan.trace["best_cost"].shape == (make(name).n_steps,)


def test_eager_jit_and_scan_agree(name):
    solver, key = make(name), jax.random.key(1)
    eager = plan_for(solver, key)
    jitted = jax.jit(functools.partial(plan_for, solver))(key)
    _, scanned = jax.lax.scan(lambda carry, one_key: (carry, plan_for(solver, one_key)), 0, key[None])
    np.testing.assert_allclose(eager.actions, jitted.actions, atol=1e-6)
    np.testing.assert_allclose(eager.actions, scanned.actions[0], atol=1e-6)


def test_one_trace_and_no_recompilation(name):
    traces = 0

    @functools.partial(jax.jit, static_argnums=0)
    def run(solver, key, target):
        nonlocal traces
        traces += 1
        return plan_for(solver, key, target)

    run(make(name), jax.random.key(0), TARGET)
    run(make(name), jax.random.key(1), TARGET + 1)
    assert traces == 1
    assert run._cache_size() == 1


def test_the_cost_function_is_traced_once(name):
    calls = 0

    def counted(actions):
        nonlocal calls
        calls += 1
        return cost(TARGET, actions)

    jax.jit(lambda key: solve(make(name), counted, SPACE, key, HORIZON))(jax.random.key(0))
    assert calls == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtypes_stay(name, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        plan = plan_for(make(name), jax.random.key(0), warm_start=jnp.zeros((1, 4), dtype))
        assert plan.actions.dtype == dtype
        assert plan.cost.dtype == jnp.promote_types(dtype, jnp.float32)
        assert plan.status.dtype == jnp.int32
        assert bool(jnp.all(jnp.isfinite(plan.actions)))


def test_a_plan_does_not_depend_on_the_batch(name):
    solver, key = make(name), jax.random.key(7)
    targets = jnp.stack([TARGET, TARGET + 0.1, TARGET - 0.3, TARGET * 0.5, -TARGET])
    ids = jnp.asarray([4, 9, 2, 7, 31])
    warm_start = jnp.stack([jnp.full((2, 4), value) for value in (0.0, 0.1, 0.2, -0.1, 0.4)])

    @functools.partial(jax.jit, static_argnums=1)
    def run(rows, batch_size):
        return solve_batch(solver, cost, targets[rows], SPACE, key, HORIZON, warm_start[rows], ids[rows], batch_size)

    whole = run(jnp.arange(5), None)
    for rows, batch_size in (([2], None), ([4, 0, 1], None), ([4, 0, 1], 2)):
        part = run(jnp.asarray(rows), batch_size)
        assert_equal(part, jax.tree.map(lambda leaf, rows=rows: leaf[jnp.asarray(rows)], whole))


def test_batch_equals_single_solves(name):
    solver, key = make(name), jax.random.key(7)
    targets = jnp.stack([TARGET, -TARGET])
    batch = solve_batch(solver, cost, targets, SPACE, key, HORIZON)
    for index, target in enumerate(targets):
        single = plan_for(solver, jax.random.fold_in(key, index), target)
        np.testing.assert_allclose(batch.actions[index], single.actions, atol=1e-6)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_non_finite_costs_rank_last(name, bad):
    def spoiled(actions):
        return jnp.where(jnp.arange(actions.shape[0]) % 3 == 1, bad, cost(TARGET, actions))

    plan = solve(make(name), spoiled, SPACE, jax.random.key(0), HORIZON)
    assert plan.status == Status.OK
    assert bool(jnp.all(jnp.isfinite(plan.actions)))
    assert cost(TARGET, plan.actions[None])[0] < cost(TARGET, jnp.zeros((1, HORIZON, 4)))[0]
    np.testing.assert_array_equal(plan.trace["non_finite"], 8)


def test_nothing_finite_returns_the_warm_start(name):
    warm_start = jnp.full((2, 4), 0.3)
    plan = solve(
        make(name), lambda a: jnp.full(a.shape[0], jnp.nan), SPACE, jax.random.key(0), HORIZON, warm_start=warm_start
    )
    assert plan.status == Status.NO_FINITE_COST
    assert plan.cost == jnp.inf
    np.testing.assert_array_equal(plan.actions, np.pad(warm_start, ((0, 1), (0, 0))))


def test_problems_of_a_batch_fail_alone(name):
    bad = jnp.asarray([False, True])
    targets = jnp.stack([TARGET, TARGET])

    def one_bad(problem, actions):
        target, is_bad = problem
        return jnp.where(is_bad, jnp.nan, cost(target, actions))

    plan = solve_batch(make(name), one_bad, (targets, bad), SPACE, jax.random.key(0), HORIZON)
    np.testing.assert_array_equal(plan.status, [Status.OK, Status.NO_FINITE_COST])
    np.testing.assert_array_equal(plan.actions[1], 0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        (
            {"warm_start": np.zeros((4, 4), np.float32)},
            r"warm_start must have the shape \[at most 3, 4\].*got \[4, 4\]",
        ),
        ({"warm_start": np.zeros((2, 3), np.float32)}, r"warm_start must have the shape .*got \[2, 3\]"),
        ({"space": Box(-1.0, 1.0, (2, 2), np.float32)}, "one-axis Box of floats"),
    ],
)
def test_bad_input(name, kwargs, message):
    arguments = {"space": SPACE, "key": jax.random.key(0), "horizon": HORIZON, **kwargs}
    arguments = {k: jnp.asarray(v) if k == "warm_start" else v for k, v in arguments.items()}
    with pytest.raises(ValueError, match=message):
        solve(make(name), functools.partial(cost, TARGET), **arguments)
