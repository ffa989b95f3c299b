"""Projected gradient descent against recorded runs of the reference, and its rules one by one."""

import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from planning.recorded import replay, run
from planning.recorded_costs import discrete
from planning.recorded_descent import descent_noise

from swmjax.planning import PGDSolver, Status, make_solver, one_hot, solve

GOLDEN = Path(__file__).parents[1] / "golden"
MIXED = MultiDiscrete([2, 3], start=[0, 4])


def bowl(target, actions):
    return jnp.sum(actions * target[None], axis=(1, 2)) + 0.5 * jnp.sum(actions**3, axis=(1, 2))


def test_recorded_noise_reproduces_the_reference():
    golden = np.load(GOLDEN / "solver_pgd.npz")
    solver = PGDSolver(n_steps=6, num_samples=2, var_scale=0.5)

    @jax.jit
    @jax.vmap
    def recorded(noise, weights):
        return run(replay(solver, noise), functools.partial(discrete, weights), MultiDiscrete([4, 4]), 6)

    _, plan, _ = recorded(descent_noise(golden["draw0"]), jnp.asarray(golden["in_w"]))
    np.testing.assert_array_equal(plan.actions, golden["out_actions"])
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)


@pytest.mark.parametrize("whole", [True, False])
def test_every_iteration_with_noise_and_a_warm_start(whole):
    golden = np.load(GOLDEN / "pgd_one_hot.npz")
    space = MultiDiscrete([3, 3])
    solver = PGDSolver(n_steps=6, num_samples=3, var_scale=0.5, action_noise=0.1)
    warm_start = jnp.asarray(golden["in_init_action"], jnp.int32)
    warm_start = warm_start if whole else one_hot(warm_start, space)

    @jax.jit
    @jax.vmap
    def recorded(noise, target, warm_start):
        return run(replay(solver, noise), functools.partial(bowl, target), space, 4, warm_start)

    noise = descent_noise(*(golden[f"draw{i}"] for i in range(7)))
    states, plan, records = recorded(noise, jnp.asarray(golden["in_target"]), warm_start)
    for found, name in ((records.candidates, "params"), (records.costs, "costs"), (records.gradient, "grads")):
        np.testing.assert_allclose(jnp.moveaxis(found, 0, 1), golden[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(states.iterates[:, -1], golden["final0"], atol=1e-5)
    finals = np.stack([bowl(t, f) for t, f in zip(golden["in_target"], golden["final0"], strict=True)])
    chosen = golden["final0"][range(2), finals.argmin(axis=1)].reshape(2, 4, 2, 3).argmax(axis=-1)
    np.testing.assert_array_equal(plan.actions, chosen)
    np.testing.assert_allclose(plan.cost, finals.min(axis=1), rtol=1e-5)


def test_mixed_counts_find_what_enumeration_finds():
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5)), jnp.float32)
    cost_fn = functools.partial(discrete, weights)
    every = np.array(list(itertools.product(range(2), range(4, 7), repeat=2))).reshape(-1, 2, 2)
    best = every[np.argmin(cost_fn(one_hot(jnp.asarray(every), MIXED)))]
    plan = solve(PGDSolver(n_steps=20, num_samples=3), cost_fn, MIXED, jax.random.key(0), 2)
    np.testing.assert_array_equal(plan.actions, best)
    np.testing.assert_allclose(plan.cost, cost_fn(one_hot(jnp.asarray(best)[None], MIXED))[0], rtol=1e-6)
    assert plan.actions.dtype == jnp.int32
    assert MIXED.contains(np.asarray(plan.actions[0], MIXED.dtype))


def test_a_discrete_space_has_one_slot():
    weights = jnp.asarray([[3.0, 1.0, 2.0], [1.0, 2.0, 0.5]])
    plan = solve(PGDSolver(), functools.partial(discrete, weights), Discrete(3, start=1), jax.random.key(0), 2)
    np.testing.assert_array_equal(plan.actions, [[2], [3]])


def test_iterates_are_probabilities_after_the_first_step():
    solver = PGDSolver(n_steps=3, num_samples=4, action_noise=0.3, optimizer="adam", learning_rate=0.1)
    weights = jnp.ones((2, 5))
    states, _, records = run(solver, functools.partial(discrete, weights), MIXED, 2)
    np.testing.assert_array_equal(records.candidates[0, 0], 0)
    for slot in (slice(0, 2), slice(2, 5)):
        np.testing.assert_allclose(jnp.sum(states.iterates[..., slot], axis=-1), 1, atol=1e-6)
    assert jnp.min(states.iterates) >= 0


@pytest.mark.parametrize("bad", [jnp.nan, -jnp.inf])
def test_sequences_without_a_finite_cost_stay_and_rank_last(bad):
    solver = PGDSolver(n_steps=4, num_samples=3)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5)), jnp.float32)
    states, plan, _ = run(
        solver, lambda a: jnp.where(jnp.arange(3) == 1, bad, discrete(weights, a)), MIXED, 2, jnp.asarray([[1, 5]])
    )
    start = solver.init(jax.random.key(0), MIXED, 2, jnp.asarray([[1, 5]]))
    np.testing.assert_array_equal(states.iterates[-1, 1], start.iterates[1])
    assert plan.status == Status.OK
    lost = solve(solver, lambda a: discrete(weights, a) * bad, MIXED, jax.random.key(0), 2, jnp.asarray([[1, 5]]))
    assert lost.status == Status.NO_FINITE_COST
    np.testing.assert_array_equal(lost.actions, [[1, 5], [0, 4]])


def test_bad_input():
    with pytest.raises(ValueError, match="PGDSolver.n_steps must be at least 1, got 0"):
        make_solver("pgd", {"n_steps": "0"})
    with pytest.raises(ValueError, match="a discrete solver needs a Discrete"):
        solve(PGDSolver(), lambda a: jnp.sum(a, axis=(1, 2)), Box(-1.0, 1.0, (2,)), jax.random.key(0), 2)
    with pytest.raises(ValueError, match="the costs have no gradient with respect to the actions"):
        solve(PGDSolver(), lambda a: jnp.argmax(a[:, 0], -1) * 1.0, MIXED, jax.random.key(0), 2)
