"""Promises that every solver keeps, in one matrix over the registry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types
from gymnasium.spaces import Box, Discrete
from planning.cases import BOX, CHOICES, HORIZON, SIZE, case, doomed, spoiled

from swmjax.planning import SOLVERS, CEMSolver, Status, solve, solve_batch
from swmjax.planning.descent import DescentSolver
from swmjax.planning.host import HostSolver
from swmjax.planning.metrics import NonFinite
from swmjax.planning.optional import needed
from swmjax.planning.population import PopulationSolver

OPTIONAL = {"nevergrad": "nevergrad", "evosax": "evosax"}
NAMES = [pytest.param(name, id=name) for name in SOLVERS]
COMPILED = [name for name in SOLVERS if not issubclass(SOLVERS[name], HostSolver)]
SAMPLERS = [name for name in COMPILED if issubclass(SOLVERS[name], PopulationSolver)]
SHIFTED = [name for name in SAMPLERS if name not in ("ask_tell", "evosax")]


@functools.cache
def of(name):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    return case(name)


def plan_for(one, key, problem=None, warm_start=None, solver=None, cost=None, **options):
    problem = one.problem if problem is None else problem
    cost = functools.partial(one.cost if cost is None else cost, problem)
    transitions = None if one.transitions is None else one.transitions(problem)
    return solve(solver or one.solver, cost, one.space, key, HORIZON, warm_start, transitions=transitions, **options)


def batch_for(one, problems, key, *rest, cost=None, transitions=None, **options):
    return solve_batch(
        one.solver,
        one.cost if cost is None else cost,
        problems,
        one.space,
        key,
        HORIZON,
        *rest,
        transitions=transitions or one.transitions,
        **options,
    )


def assert_equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def assert_close(left, right, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), left, right)


def stacked(one, changes):
    return jax.tree.map(lambda leaf: jnp.stack([change(leaf) for change in changes]), one.problem)


def compiled(one):
    """A function in the way that the solver allows: a search on the host cannot be compiled."""
    return (lambda f, **_: f) if isinstance(one.solver, HostSolver) else jax.jit


@pytest.mark.parametrize("name", NAMES)
def test_solvers_are_hashable_hyperparameters(name):
    assert of(name).solver == case(name).solver
    assert hash(of(name).solver) == hash(case(name).solver)


@pytest.mark.parametrize("name", NAMES)
def test_planning_improves_on_nothing(name):
    one = of(name)
    plan = compiled(one)(functools.partial(plan_for, one))(jax.random.key(0))
    assert plan.status == Status.OK
    nothing = jax.tree.map(jnp.zeros_like, plan.actions)
    assert one.cost_of(plan.actions) < 0.75 * one.cost_of(nothing)
    assert plan.trace["best_cost"].shape == (one.solver.n_steps,)
    shapes = jax.tree.map(jnp.shape, plan.actions)
    assert shapes in ((HORIZON, SIZE), (HORIZON, 2), {"a": (HORIZON, SIZE), "b": (HORIZON, 2)})


@pytest.mark.parametrize("name", COMPILED)
def test_eager_jit_and_scan_agree(name):
    one, key = of(name), jax.random.key(1)
    eager = plan_for(one, key)
    jitted = jax.jit(functools.partial(plan_for, one))(key)
    _, scanned = jax.lax.scan(lambda carry, one_key: (carry, plan_for(one, one_key)), 0, key[None])
    assert_close(eager.actions, jitted.actions)
    assert_close(eager.actions, jax.tree.map(lambda leaf: leaf[0], scanned.actions))


@pytest.mark.parametrize("name", COMPILED)
def test_one_trace_and_no_recompilation(name):
    one, traces = of(name), 0

    @functools.partial(jax.jit, static_argnums=0)
    def run(solver, key, problem):
        nonlocal traces
        traces += 1
        return plan_for(one, key, problem, solver=solver)

    run(one.solver, jax.random.key(0), one.problem)
    run(case(name).solver, jax.random.key(1), jax.tree.map(lambda leaf: leaf + 1, one.problem))
    assert traces == 1
    assert run._cache_size() == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_function_is_not_traced_at_every_step(name):
    one, calls = of(name), 0

    def counted(problem, actions):
        nonlocal calls
        calls += 1
        return one.cost(problem, actions)

    compiled(one)(functools.partial(plan_for, one, cost=counted))(jax.random.key(0))
    # A gradient solver looks at its last iterates once more.
    assert calls <= (1 if not issubclass(SOLVERS[name], DescentSolver) else 3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_stay(name, dtype):
    one = of(name)
    with jax.enable_x64(dtype == jnp.float64):
        floating = one.warm_start is not None and jnp.issubdtype(one.warm_start.dtype, jnp.floating)
        warm_start = one.warm_start.astype(dtype) if floating else one.warm_start
        plan = plan_for(one, jax.random.key(0), warm_start=warm_start)
        if floating:
            assert plan.actions.dtype == dtype
            assert plan.cost.dtype == jnp.promote_types(dtype, jnp.float32)
        assert plan.status.dtype == jnp.int32
        for leaf in jax.tree.leaves(plan.actions):
            assert bool(jnp.all(jnp.isfinite(leaf)))


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_does_not_depend_on_the_batch(name):
    one, key = of(name), jax.random.key(7)
    problems = stacked(one, [lambda x: x, lambda x: x + 0.1, lambda x: x - 0.3, lambda x: x * 0.5, lambda x: -x])
    ids = jnp.asarray([4, 9, 2, 7, 31])
    warm = None if one.warm_start is None else jnp.stack([one.warm_start] * 5)

    @functools.partial(compiled(one), **({} if isinstance(one.solver, HostSolver) else {"static_argnums": 1}))
    def run(rows, batch_size):
        taken = jax.tree.map(lambda leaf: leaf[rows], problems)
        return batch_for(one, taken, key, None if warm is None else warm[rows], ids[rows], batch_size)

    whole = run(jnp.arange(5), None)
    sizes = (None, None) if isinstance(one.solver, HostSolver) else (None, 2)
    for rows, batch_size in (([2, 0], sizes[0]), ([4, 0, 1], sizes[1])):
        part = run(jnp.asarray(rows), batch_size)
        picked = jax.tree.map(lambda leaf, rows=rows: leaf[jnp.asarray(rows)], whole)
        # To the bit for what only adds and multiplies entry by entry; products of matrices round by their size.
        assert_close(part.actions, picked.actions, 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_single_solves(name):
    one, key = of(name), jax.random.key(7)
    problems = stacked(one, [lambda x: x, lambda x: -x])
    # The eigenvectors of a covariance that is still close to a multiple of the identity turn by far more than the
    # rounding that moves them, and the two programs here round apart; in float64 what is left of it is nothing.
    with jax.enable_x64(name == "evosax"):
        batch = compiled(one)(functools.partial(batch_for, one))(problems, key)
        for index in range(2):
            problem = jax.tree.map(lambda leaf, index=index: leaf[index], problems)
            single = plan_for(one, jax.random.fold_in(key, index), problem)
            assert_close(jax.tree.map(lambda leaf, index=index: leaf[index], batch.actions), single.actions)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("name", NAMES)
def test_non_finite_costs_rank_last(name, bad):
    one = of(name)
    if one.population < 3:
        pytest.skip("it has a single candidate")
    run = functools.partial(plan_for, one, cost=spoiled(one, bad), metrics=(NonFinite(),))
    plan = compiled(one)(run)(jax.random.key(0))
    assert plan.status == Status.OK
    nothing = jax.tree.map(jnp.zeros_like, plan.actions)
    assert one.cost_of(plan.actions) < one.cost_of(nothing)
    np.testing.assert_array_equal(plan.trace["non_finite"], len(range(1, one.population, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_finite_returns_the_warm_start(name):
    one = of(name)
    warm = one.warm_start
    plan = plan_for(one, jax.random.key(0), warm_start=warm, cost=doomed(one))
    assert plan.status == Status.NO_FINITE_COST
    assert plan.cost == jnp.inf
    if one.nothing is not None:
        np.testing.assert_allclose(plan.actions[:1], warm, rtol=1e-6)
        np.testing.assert_array_equal(plan.actions[1:], one.nothing[1:])


@pytest.mark.parametrize("name", NAMES)
def test_problems_of_a_batch_fail_alone(name):
    one = of(name)
    problems = stacked(one, [lambda x: x, lambda x: x])

    def one_bad(problem, actions):
        problem, is_bad = problem
        costs = one.cost(problem, actions)
        return costs * jnp.where(is_bad, jnp.nan, 1.0).astype(costs.dtype)

    transitions = None if one.transitions is None else lambda problem: one.transitions(problem[0])
    run = functools.partial(batch_for, one, cost=one_bad, transitions=transitions)
    plan = run((problems, jnp.asarray([False, True])), jax.random.key(0))
    np.testing.assert_array_equal(plan.status, [Status.OK, Status.NO_FINITE_COST])
    if one.nothing is not None:
        np.testing.assert_array_equal(plan.actions[1], one.nothing)


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shift_of_all_costs_changes_nothing(name):
    one = of(name)
    # A power of two far above the costs would round them away; this one does not.
    plans = [
        plan_for(one, jax.random.key(2), cost=lambda problem, a, shift=shift: one.cost(problem, a) + shift)
        for shift in (0.0, 4.0)
    ]
    assert_close(plans[0].actions, plans[1].actions, 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bad_input(name):
    one = of(name)
    other = BOX if one.space is CHOICES else Discrete(3)
    cases = {
        "horizon must be at least 1, got 0": {"horizon": 0},
        "space": {"space": other},
        "cost": {"cost_fn": lambda actions: jnp.zeros((3, 3))},
    }
    if one.warm_start is not None:
        cases[r"warm_start must .*\[4, "] = {"warm_start": jnp.concatenate([one.warm_start] * 4)}
    if "constraints" not in SOLVERS[name].takes:
        cases["takes no constraints"] = {"constraint_fn": lambda actions: jnp.zeros((1, 1))}
    if "carry" not in SOLVERS[name].takes:
        cases["keeps nothing"] = {"carry": jnp.zeros(1)}
    good = {
        "cost_fn": functools.partial(one.cost, one.problem),
        "space": one.space,
        "key": jax.random.key(0),
        "horizon": HORIZON,
        "transitions": None if one.transitions is None else one.transitions(one.problem),
    }
    for message, change in cases.items():
        # Users have no type checks, which would be first to refuse a space.
        with unchecked_types(), pytest.raises(ValueError, match=message):
            solve(one.solver, **(good | change))


def test_missing_extras_are_named():
    with pytest.raises(ValueError, match=r"pip install 'swmjax\[search\]'"):
        needed("no_such_module", "NevergradSolver")


def test_only_boxes_with_one_axis():
    with pytest.raises(ValueError, match="one-axis Box of floats"):
        solve(
            CEMSolver(num_samples=24, topk=4),
            lambda a: jnp.sum(a, (1, 2)),
            Box(-1.0, 1.0, (2, 2), np.float32),
            jax.random.key(0),
            HORIZON,
        )
