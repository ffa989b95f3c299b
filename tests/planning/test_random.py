"""Random shooting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded_costs import quad

from swmjax.planning import RandomSolver, Status, solve
from swmjax.planning.scoring import Scorer

SPACE = Box(np.array([-2.0, 0.5], np.float32), np.array([1.0, 0.75], np.float32))
TARGET = jnp.asarray([[0.5, 0.6]] * 3)


def cost(actions):
    return quad(TARGET, actions)


def test_candidates_keep_the_warm_start_and_fill_the_box():
    solver = RandomSolver(num_samples=4000)
    state = solver.init(jax.random.key(0), SPACE, 3, jnp.asarray([[5.0, 6.0]]))
    candidates = solver.propose(state)
    np.testing.assert_array_equal(candidates[:, 0], [[5.0, 6.0]] * 4000)
    drawn = np.asarray(candidates[:, 1:].reshape(-1, 2))
    assert (drawn >= SPACE.low).all()
    assert (drawn <= SPACE.high).all()
    np.testing.assert_allclose(drawn.mean(0), (SPACE.low + SPACE.high) / 2, atol=0.05)
    np.testing.assert_allclose(drawn.std(0), (SPACE.high - SPACE.low) / 12**0.5, rtol=0.03)


def test_one_sample_is_a_random_plan():
    plan = solve(RandomSolver(), cost, SPACE, jax.random.key(0), 3)
    other = solve(RandomSolver(), cost, SPACE, jax.random.key(1), 3)
    assert plan.status == Status.OK
    assert SPACE.contains(np.asarray(plan.actions[0]))
    assert not np.array_equal(plan.actions, other.actions)
    np.testing.assert_allclose(plan.cost, cost(plan.actions[None])[0], rtol=1e-6)


def test_best_of_all_steps_is_the_plan():
    solver = RandomSolver(num_samples=50, n_steps=6)
    plan = solve(solver, cost, SPACE, jax.random.key(3), 3)
    assert plan.cost == plan.trace["best_cost"].min()
    assert plan.trace["best_cost"][-1] > plan.cost
    np.testing.assert_allclose(plan.cost, cost(plan.actions[None])[0], rtol=1e-6)


def test_unbounded_spaces_are_refused():
    space = Box(-np.inf, 1.0, (2,), np.float32)
    with pytest.raises(ValueError, match="RandomSolver draws evenly from the action space, which needs finite bounds"):
        RandomSolver().init(jax.random.key(0), space, 3)


def test_hyperparameters_are_validated():
    with pytest.raises(ValueError, match="RandomSolver.num_samples must be at least 1, got 0"):
        RandomSolver(num_samples=0)


def test_a_failed_step_keeps_the_best():
    solver = RandomSolver(num_samples=8)
    state, _ = solver.step(solver.init(jax.random.key(0), SPACE, 3), Scorer(cost))
    after, _ = solver.step(state, Scorer(lambda a: jnp.full(8, -jnp.inf)))
    np.testing.assert_array_equal(after.best, state.best)
    assert after.cost == state.cost
