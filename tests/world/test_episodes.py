"""Episodes on the toy environment: reachable goals, success that stays, nothing that depends on the batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv

from swmjax.models import OracleModel
from swmjax.planning import CEMSolver
from swmjax.policies import OracleShooting, PlanConfig, PlanningPolicy
from swmjax.world import draw_problem, run_episodes
from swmjax.world import episodes as module

ENV = GoalEnv(gain=0.25)
BUDGET, OFFSET = 4, 20
SEEDS = np.arange(40, 52)


@functools.cache
def program(env, budget, filmed):
    task = OracleShooting(OracleModel(env), env.planning_cost, env.action_space)
    solver = CEMSolver(num_samples=24, n_steps=4, topk=4, clip="bounds")
    policy = PlanningPolicy(solver, task, PlanConfig(3, 2, 1))
    return jax.jit(lambda seeds: run_episodes(env, policy, seeds, budget, OFFSET, filmed))


def run(seeds, env=ENV, budget=BUDGET, filmed=0):
    return jax.device_get(program(env, budget, filmed)(jnp.asarray(seeds, jnp.int32)))


@pytest.fixture(scope="module")
def filmed():
    return run(SEEDS, filmed=len(SEEDS))


def test_the_start_is_not_solved():
    # One weak step ends within reach of the start in about one of ten draws.
    seeds = jnp.arange(300)
    start, end = jax.vmap(lambda seed: draw_problem(ENV, seed, 1))(seeds)
    first, _ = jax.vmap(lambda seed: first_attempt(ENV, seed, 1))(seeds)
    assert np.any(first.terminated)
    assert not np.any(start.terminated)
    kept = ~np.asarray(first.terminated)
    np.testing.assert_array_equal(start.physics[kept], first.physics[kept])
    assert np.all(np.asarray(start.physics != first.physics)[~kept])
    assert np.abs(start.physics - start.goal).min() >= 0.1
    np.testing.assert_array_equal(start.goal, end.physics)


def first_attempt(env, seed, offset):
    """The first pair that `draw_problem` looks at, step by step."""
    start_key, walk_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
    start = state = env.reset(start_key)
    for key in jax.random.split(walk_key, offset):
        state = env.step(state, env.weak_action(key, state))
    return env.set_goal(start, env.goal_from(state)), state


def test_the_goal_is_where_the_weak_policy_ends():
    found = jax.device_get(draw_problem(ENV, jnp.asarray(3), OFFSET))
    expected = jax.device_get(first_attempt(ENV, 3, OFFSET))
    assert not expected[0].terminated
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.physics, other.physics, rtol=1e-5)
        np.testing.assert_allclose(one.goal, other.goal, rtol=1e-5)
    assert found[1].step == OFFSET


def test_a_pair_that_always_starts_solved_is_kept_in_the_end(monkeypatch):
    monkeypatch.setattr(module, "MAX_ATTEMPTS", 3)
    still = GoalEnv(gain=0.0)
    found = run([1, 2], still)
    assert (found.success.tolist(), found.steps.tolist()) == ([True, True], [0, 0])
    start, _ = draw_problem(still, jnp.asarray(1), OFFSET)
    # The third draw, numbered from 0, is the last.
    key = jax.random.split(jax.random.fold_in(jax.random.key(1), 2))[0]
    np.testing.assert_array_equal(start.physics, still.reset(key).physics)


def test_success_is_latched_and_the_episode_stands_still(filmed):
    trajectory = filmed.trajectory
    reached = np.abs(trajectory.physics - trajectory.goal)[..., 0] < 0.1
    np.testing.assert_array_equal(filmed.success, reached.any(axis=0))
    assert 0 < filmed.success.sum() < len(SEEDS)
    np.testing.assert_array_equal(filmed.steps, np.where(filmed.success, reached.argmax(axis=0), BUDGET))
    assert filmed.steps.min() > 0
    assert len(np.unique(filmed.steps)) > 2
    for k, steps in enumerate(filmed.steps):
        own = trajectory.physics[:, k, 0]
        np.testing.assert_array_equal(own[steps:], np.full(BUDGET + 1 - steps, own[steps]))
        assert np.all(own[1 : steps + 1] != own[:steps])
        np.testing.assert_array_equal(trajectory.step[:, k], np.minimum(np.arange(BUDGET + 1), steps))


def test_what_is_reported(filmed):
    trajectory = filmed.trajectory
    np.testing.assert_array_equal(filmed.start, trajectory.physics[0])
    np.testing.assert_array_equal(filmed.goal, trajectory.goal[0])
    np.testing.assert_array_equal(filmed.goal, filmed.shown_goals.physics)
    start, end = filmed.first_problem
    np.testing.assert_array_equal(start.physics, filmed.start[:1])
    for place in (start.goal, end.physics):
        np.testing.assert_array_equal(place, filmed.goal[:1])
    np.testing.assert_array_equal(filmed.final_distance, np.abs(trajectory.physics[-1] - trajectory.goal[-1])[:, 0])
    assert np.all((filmed.final_distance < 0.1) == filmed.success)


def test_only_filmed_episodes_are_kept(filmed):
    found = run(SEEDS[:3], filmed=2)
    assert found.trajectory.physics.shape == (BUDGET + 1, 2, 1)
    assert found.shown_goals.physics.shape == (2, 1)
    np.testing.assert_array_equal(found.trajectory.physics, filmed.trajectory.physics[:, :2])
    assert_same(found, filmed, slice(3))


def assert_same(found, expected, index):
    for name in ("start", "goal", "success", "steps", "final_distance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[index])


@pytest.mark.parametrize("index", [[4], [7, 2, 7]])
def test_results_do_not_depend_on_the_batch(filmed, index):
    alone = run(SEEDS[index])
    assert_same(alone, filmed, index)
    assert (alone.trajectory, alone.shown_goals) == (None, None)


def test_a_seed_is_an_episode(filmed):
    backwards = np.arange(len(SEEDS))[::-1]
    assert_same(run(SEEDS[backwards], filmed=len(SEEDS)), filmed, backwards)
    assert len(np.unique(filmed.start)) == len(SEEDS)


def test_budget_bounds_the_steps(filmed):
    found = run(SEEDS, budget=2)
    late = filmed.steps > 2
    assert np.any(late & filmed.success)
    np.testing.assert_array_equal(found.steps, np.minimum(filmed.steps, 2))
    np.testing.assert_array_equal(found.success, filmed.success & ~late)
    distance = np.abs(filmed.trajectory.physics[2] - filmed.trajectory.goal[2])[:, 0]
    np.testing.assert_array_equal(found.final_distance, distance)
