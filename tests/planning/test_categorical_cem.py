"""Categorical CEM against recorded runs of the reference, and its rules one by one."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from planning.recorded import replay, run
from planning.recorded_costs import discrete, recorded_noise
from planning.recorded_steps import run_recorded

from swmjax.planning import CategoricalCEMSolver, Status, one_hot, solve, solve_batch
from swmjax.planning.scoring import Scorer

GOLDEN = Path(__file__).parents[1] / "golden"
MIXED = MultiDiscrete([2, 4, 3], start=[0, -1, 5])
WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(3, 9)), jnp.float32)


def test_recorded_noise_reproduces_the_reference():
    golden = np.load(GOLDEN / "solver_categorical_cem.npz")
    solver = CategoricalCEMSolver(num_samples=40, n_steps=5, topk=6, smoothing=0.01, alpha=0.1)
    noise = recorded_noise(golden, [1, 1, 1], solver.n_steps)
    noise = noise.reshape(*noise.shape[:4], -1)

    @jax.jit
    @jax.vmap
    def recorded(noise, weights):
        return run(replay(solver, noise), lambda actions: discrete(weights, actions), MultiDiscrete([4, 4]), 6)

    states, plan, _ = recorded(noise, jnp.asarray(golden["in_w"]))
    np.testing.assert_array_equal(plan.actions, golden["out_actions"])
    np.testing.assert_allclose(states.probs[:, -1], golden["out_probs"].reshape(3, 6, 8), atol=1e-5)
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"), [("categorical_steps", {}), ("categorical_smooth", {"smoothing": 0.05, "alpha": 0.3})]
)
def test_every_iteration_is_that_of_the_reference(name, options):
    solver = CategoricalCEMSolver(num_samples=24, n_steps=4, topk=5, **options)
    golden, states, plan, records = run_recorded(name, solver, discrete, MultiDiscrete([3, 3]))
    np.testing.assert_array_equal(plan.actions, golden["out_actions"])
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)
    np.testing.assert_allclose(states.probs, golden["probs"].reshape(3, 4, 5, 6), atol=1e-5)
    np.testing.assert_allclose(records.costs, golden["costs"], rtol=1e-5, atol=1e-5)
    # Two candidates may be the same sequence, so the elites are compared by their costs.
    elites = np.take_along_axis(np.asarray(records.costs), np.asarray(records.elites), axis=-1)
    np.testing.assert_allclose(elites, golden["topk_vals"], rtol=1e-5, atol=1e-5)


def coupled(weights, candidates):
    """A cost in which the steps are not independent of each other."""
    indices = jnp.argmax(candidates[..., 2:6], axis=-1).astype(candidates.dtype)
    return discrete(weights, candidates) + 0.3 * jnp.sum(jnp.square(jnp.diff(indices, axis=1)), axis=1)


def test_finds_the_optimum_among_all_sequences():
    actions = np.array(list(itertools.product(range(2), range(-1, 3), range(5, 8))))
    sequences = np.array(list(itertools.product(actions, repeat=3)))
    costs = coupled(WEIGHTS, one_hot(jnp.asarray(sequences), MIXED))
    solver = CategoricalCEMSolver(num_samples=200, n_steps=12, topk=20, smoothing=0.02, alpha=0.1)
    plan = solve(solver, lambda a: coupled(WEIGHTS, a), MIXED, jax.random.key(0), 3)
    np.testing.assert_array_equal(plan.actions, sequences[int(jnp.argmin(costs))])
    assert plan.actions.dtype == jnp.int32
    np.testing.assert_allclose(plan.trace["best_cost"][-1], costs.min(), rtol=1e-5)
    shifted = solve(solver, lambda a: coupled(WEIGHTS, a) + 32, MIXED, jax.random.key(0), 3)
    np.testing.assert_array_equal(shifted.actions, plan.actions)
    np.testing.assert_allclose(shifted.cost, plan.cost + 32, rtol=1e-5)


def test_candidates_are_samples_of_the_probabilities():
    solver = CategoricalCEMSolver(num_samples=20_000, topk=20_000)
    state = solver.init(jax.random.key(0), MIXED, 2)
    probs = jnp.asarray([[0.9, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.0], [0.5, 0.5, 1.0, 0, 0, 0, 0.2, 0.2, 0.6]])
    state = state.replace(probs=probs)
    candidates = solver.propose(state)
    np.testing.assert_array_equal(np.add.reduceat(candidates, [0, 2, 6], axis=-1), 1)
    np.testing.assert_array_equal(candidates[0, 0], [1, 0, 0, 0, 0, 1, 1, 0, 0])
    np.testing.assert_allclose(candidates.mean(0), probs, atol=0.015)
    # Every candidate is an elite: the refit returns these frequencies.
    after, _ = solver.update(state, candidates, jnp.zeros(20_000))
    np.testing.assert_allclose(after.probs, candidates.mean(0), atol=1e-5)


def test_smoothing_keeps_every_category_alive():
    solver = CategoricalCEMSolver(num_samples=30, n_steps=3, topk=2, smoothing=0.1)
    state = solver.init(jax.random.key(0), MIXED, 3)
    after, _ = solver.step(state, Scorer(lambda a: discrete(WEIGHTS, a)))
    assert (after.probs > 0.05).all()
    np.testing.assert_allclose(np.add.reduceat(after.probs, [0, 2, 6], axis=-1), 1, atol=1e-6)


def test_a_warm_start_is_ignored_or_smoothed():
    key, start = jax.random.key(0), jnp.asarray([[1, 2, 6]])
    ignored = CategoricalCEMSolver().init(key, MIXED, 2, start)
    np.testing.assert_allclose(ignored.probs, [[1 / 2] * 2 + [1 / 4] * 4 + [1 / 3] * 3] * 2, rtol=1e-6)
    smooth = CategoricalCEMSolver(warm_start="smooth", warm_start_eps=0.12).init(key, MIXED, 2, start)
    np.testing.assert_allclose(
        smooth.probs[0], [0.06, 0.94, 0.03, 0.03, 0.03, 0.91, 0.04, 0.92, 0.04], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(smooth.probs[1], ignored.probs[1])
    first = CategoricalCEMSolver(warm_start="smooth").propose(smooth)[0, 0]
    np.testing.assert_array_equal(first, one_hot(start, MIXED)[0])


def test_nothing_finite_returns_the_warm_start_followed_by_first_categories():
    solver = CategoricalCEMSolver(num_samples=20, n_steps=2, topk=4)
    bad = jnp.asarray([False, True])

    def cost(problem, candidates):
        return jnp.where(problem, jnp.nan, discrete(WEIGHTS, candidates))

    start = jnp.asarray([[[1, 2, 6]]] * 2)
    plan = solve_batch(solver, cost, bad, MIXED, jax.random.key(0), 3, start)
    np.testing.assert_array_equal(plan.status, [Status.OK, Status.NO_FINITE_COST])
    np.testing.assert_array_equal(plan.actions[1], [[1, 2, 6], [0, -1, 5], [0, -1, 5]])


def test_discrete_space_is_one_slot():
    plan = solve(
        CategoricalCEMSolver(num_samples=50, n_steps=5, topk=5),
        lambda a: discrete(WEIGHTS[:2, :3], a),
        Discrete(3, start=4),
        jax.random.key(0),
        2,
    )
    np.testing.assert_array_equal(plan.actions, 4 + jnp.argmin(WEIGHTS[:2, :3], axis=1)[:, None])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_floating_point_warm_starts_give_the_dtype_of_the_candidates(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        start = one_hot(jnp.asarray([[1, 2, 6]]), MIXED, dtype)
        state = CategoricalCEMSolver(num_samples=20, topk=4, warm_start="smooth").init(
            jax.random.key(0), MIXED, 3, start
        )
        candidates = CategoricalCEMSolver(num_samples=20, topk=4).propose(state)
        assert candidates.dtype == dtype
        assert state.cost.dtype == jnp.promote_types(dtype, jnp.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topk": 301}, r"CategoricalCEMSolver.topk must be at most num_samples \(300\), got 301"),
        ({"alpha": 1.1}, "CategoricalCEMSolver.alpha must be at most 1, got 1.1"),
        ({"warm_start_eps": 2.0}, "CategoricalCEMSolver.warm_start_eps must be at most 1, got 2.0"),
        ({"smoothing": -0.1}, "CategoricalCEMSolver.smoothing must be a finite number of at least 0"),
    ],
)
def test_hyperparameters_are_validated(options, message):
    with pytest.raises(ValueError, match=message):
        CategoricalCEMSolver(**options)


@pytest.mark.parametrize(
    ("space", "warm_start", "message"),
    [
        (Box(-1.0, 1.0, (4,), np.float32), None, "a discrete solver needs a Discrete or one-axis MultiDiscrete"),
        (MIXED, np.zeros((4, 3), np.int32), r"warm_start must have the shape \[at most 3, 3\]"),
        (MIXED, np.zeros((2, 2), np.int32), r"warm_start must have the shape \[at most 3, 3\]"),
    ],
)
def test_bad_input(space, warm_start, message):
    warm_start = None if warm_start is None else jnp.asarray(warm_start)
    with pytest.raises(ValueError, match=message):
        solve(CategoricalCEMSolver(), lambda a: discrete(WEIGHTS, a), space, jax.random.key(0), 3, warm_start)
