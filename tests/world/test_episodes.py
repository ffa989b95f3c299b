"""Episodes on the toy environment: reachable goals, success that stays, nothing that depends on the batch."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv

from swmjax.models import OracleModel
from swmjax.planning import CEMSolver
from swmjax.policies import PhysicsPolicy, PlanConfig, rollout
from swmjax.world import draw_problem, run_episodes
from swmjax.world.protocols import Drawn, drawn

pytestmark = pytest.mark.optimised

ENV = GoalEnv(gain=0.25)
BUDGET, OFFSET = 4, 20
SEEDS = np.arange(40, 52)


@dataclass(frozen=True)
class DialEnv(GoalEnv):
    """The goal environment with a picture that tells the position."""

    def _render(self, state):
        return jnp.broadcast_to(dial(state.physics).astype(jnp.uint8)[None, None], (4, 6, 3))


def dial(x):
    return (x * 20.0 + 100.0).astype(int)


@functools.cache
def program(env, budget, video_episodes):
    solver = CEMSolver(num_samples=24, n_steps=4, topk=4, clip="bounds")
    policy = PhysicsPolicy(OracleModel(env), solver, PlanConfig(3, 2, 1), env.planning_cost)

    def played(rows, rendering):
        start = Drawn(0, OFFSET).start(env, rows)
        whole = rollout(env, policy, start, budget, until="success", keep=lambda states, _: states)
        return run_episodes(env, policy, start, budget, video_episodes, rendering), whole.kept, start

    return jax.jit(played)


def run(seeds, env=ENV, budget=BUDGET, video_episodes=0, rendering=True):
    return jax.device_get(program(env, budget, video_episodes)(jnp.asarray(seeds, jnp.int32), rendering))


@pytest.fixture(scope="module")
def whole():
    """All episodes, their states at every step, and how they began."""
    return run(SEEDS)


def test_the_start_is_not_solved():
    # One step of the behaviour policy ends within reach of the start in about one of ten draws.
    seeds = jnp.arange(300)
    start, end = jax.vmap(lambda seed: draw_problem(ENV, seed, 1))(seeds)
    first, _ = jax.vmap(lambda seed: first_attempt(ENV, seed, 1))(seeds)
    assert np.any(first.success)
    assert not np.any(start.success)
    kept = ~np.asarray(first.success)
    np.testing.assert_array_equal(start.physics[kept], first.physics[kept])
    assert np.all(np.asarray(start.physics != first.physics)[~kept])
    assert np.abs(start.physics - start.goal).min() >= 0.1
    np.testing.assert_array_equal(start.goal, end.physics)


def first_attempt(env, seed, offset):
    """The first pair that `draw_problem` looks at, step by step."""
    start_key, walk_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
    start = state = env.reset(start_key)
    for key in jax.random.split(walk_key, offset):
        state = env.step(state, env.behaviour_action(key, state))
    return env.set_goal(start, env.goal_from(state)), state


def test_the_goal_is_where_the_behaviour_policy_ends():
    found = jax.device_get(draw_problem(ENV, jnp.asarray(3), OFFSET))
    expected = jax.device_get(first_attempt(ENV, 3, OFFSET))
    assert not expected[0].success
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.physics, other.physics, rtol=1e-5)
        np.testing.assert_allclose(one.goal, other.goal, rtol=1e-5)
    assert found[1].step == OFFSET


def test_a_pair_that_always_starts_solved_is_kept_in_the_end(monkeypatch):
    monkeypatch.setattr(drawn, "MAX_ATTEMPTS", 3)
    still = GoalEnv(gain=0.0)
    found = run([1, 2], still)[0]
    assert (found.success.tolist(), found.steps.tolist()) == ([True, True], [0, 0])
    start, _ = draw_problem(still, jnp.asarray(1), OFFSET)
    # The third draw, numbered from 0, is the last.
    key = jax.random.split(jax.random.fold_in(jax.random.key(1), 2))[0]
    np.testing.assert_array_equal(start.physics, still.reset(key).physics)


def test_success_is_latched_and_the_episode_stands_still(whole):
    found, trajectory, _ = whole
    reached = np.abs(trajectory.physics - trajectory.goal)[..., 0] < 0.1
    np.testing.assert_array_equal(found.success, reached.any(axis=0))
    assert 0 < found.success.sum() < len(SEEDS)
    np.testing.assert_array_equal(found.steps, np.where(found.success, reached.argmax(axis=0), BUDGET))
    assert found.steps.min() > 0
    assert len(np.unique(found.steps)) > 2
    # Two steps are executed of every plan, and no solved episode is planned for.
    np.testing.assert_array_equal(found.plans, -(-found.steps // 2))
    for k, steps in enumerate(found.steps):
        own = trajectory.physics[:, k, 0]
        np.testing.assert_array_equal(own[steps:], np.full(BUDGET + 1 - steps, own[steps]))
        assert np.all(own[1 : steps + 1] != own[:steps])
        np.testing.assert_array_equal(trajectory.step[:, k], np.minimum(np.arange(BUDGET + 1), steps))


def test_what_is_reported(whole):
    found, trajectory, start = whole
    np.testing.assert_array_equal(found.start, trajectory.physics[0])
    np.testing.assert_array_equal(found.goal, trajectory.goal[0])
    np.testing.assert_array_equal(found.goal, start.goals.physics)
    np.testing.assert_array_equal(found.start, start.states.physics)
    np.testing.assert_array_equal(found.final_distance, np.abs(trajectory.physics[-1] - trajectory.goal[-1])[:, 0])
    assert np.all((found.final_distance < 0.1) == found.success)


def test_a_video_shows_the_first_episodes_and_their_goals(whole):
    env = DialEnv(gain=0.25)
    found = run(SEEDS[:3], env, video_episodes=2)[0]
    _, trajectory, start = whole
    assert (found.frames.shape, found.goal_frames.shape) == ((BUDGET + 1, 2, 4, 6, 3), (2, 4, 6, 3))
    np.testing.assert_array_equal(found.frames[..., 0, 0, 0], dial(trajectory.physics[:, :2, 0]))
    np.testing.assert_array_equal(found.goal_frames[..., 0, 0, 0], dial(start.goals.physics[:2, 0]))
    assert whole[0].frames is None
    assert not run(SEEDS[:3], env, video_episodes=2, rendering=False)[0].frames.any()


def assert_same(found, expected, index):
    for name in ("start", "goal", "success", "steps", "final_distance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[index])


@pytest.mark.parametrize("index", [[4], [7, 2, 7]])
def test_results_do_not_depend_on_the_batch(whole, index):
    assert_same(run(SEEDS[index])[0], whole[0], index)


def test_a_seed_is_an_episode(whole):
    backwards = np.arange(len(SEEDS))[::-1]
    assert_same(run(SEEDS[backwards])[0], whole[0], backwards)
    assert len(np.unique(whole[0].start)) == len(SEEDS)


def test_budget_bounds_the_steps(whole):
    longer, trajectory, _ = whole
    found = run(SEEDS, budget=2)[0]
    late = longer.steps > 2
    assert np.any(late & longer.success)
    np.testing.assert_array_equal(found.steps, np.minimum(longer.steps, 2))
    np.testing.assert_array_equal(found.success, longer.success & ~late)
    distance = np.abs(trajectory.physics[2] - trajectory.goal[2])[:, 0]
    np.testing.assert_array_equal(found.final_distance, distance)
