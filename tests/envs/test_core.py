"""The contract of environments, on the smallest one."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv
from toy_env import PointEnv

import envs_mjx
from envs_mjx.checks import UserError
from envs_mjx.core import Env


def test_states_show_shapes_and_not_numbers():
    state = PointEnv().reset(jax.random.key(0), variation=())
    shown = repr(state).splitlines()
    assert len(shown) == 13
    assert "  obs: x float32[1]" in shown
    assert "  reward: float32[]" in shown
    assert "  factors: shade float32[], start.x float32[1]" in shown
    assert "  key: key<fry>[]" in repr(jax.eval_shape(lambda: state)).splitlines()
    assert "3 arrays" in repr(state.replace(physics=(jnp.zeros(2), 1, 2)))
    assert "info: nothing" in repr(state.replace(info={}))


def test_a_fallen_pole_ends_the_episode_without_success():
    env = envs_mjx.make("swm/CartPoleControl-v1")
    fallen = env.reset(jax.random.key(0), options={"state": jnp.asarray([0.0, 0.0, 1.0, 0.0])})
    assert fallen.terminated
    assert not fallen.success
    car = envs_mjx.make("swm/MountainCarControl-v0")
    there = car.reset(jax.random.key(0), options={"state": jnp.asarray([0.55, 0.0])})
    assert there.terminated
    assert there.success


def test_a_rollout_is_steps_one_after_the_other():
    env = PointEnv()
    start = env.reset(jax.random.key(0), variation=())
    actions = jnp.asarray([[0.5], [-0.25], [1.0]])
    last, states = env.rollout(start, actions)
    np.testing.assert_array_equal(states.physics, [[1.0], [0.75], [1.75]])
    np.testing.assert_array_equal(states.step, [1, 2, 3])
    assert jax.tree.all(jax.tree.map(lambda one, all_: (one == all_[-1]).all(), last, states))
    _, kept = env.rollout(start, actions, lambda state: state.reward)
    np.testing.assert_array_equal(kept, states.reward)


def test_setting_a_state_forgets_the_last_step():
    env = GoalEnv()
    start = env.reset(jax.random.key(0), variation=(), options={"goal": jnp.asarray([1.5])})
    walked = env.step(env.step(start, jnp.ones(1)), jnp.full(1, jnp.nan))
    assert walked.success
    assert walked.info["invalid_action"]
    moved = env.set_state(walked.replace(truncated=jnp.asarray(True)), jnp.zeros(1))
    assert (moved.step, moved.reward, moved.info["distance"]) == (2, 0, 1.5)
    assert not (moved.success | moved.terminated | moved.truncated | moved.info["invalid_action"])
    assert env.set_state(moved, jnp.asarray([1.5])).success
    np.testing.assert_array_equal(moved.goal, [1.5])


@dataclass(frozen=True)
class Pointless(PointEnv):
    """The point environment without goals."""

    _set_goal, goal_from, distance, planning_cost = Env._set_goal, Env.goal_from, Env.distance, Env.planning_cost


def test_environments_without_goals_say_so():
    env = Pointless()
    state = env.reset(jax.random.key(0))
    for ask in (lambda state: env.set_goal(state, jnp.zeros(1)), env.goal_from, env.distance, env.planning_cost):
        with pytest.raises(UserError, match="Pointless has no goals, only rewards"):
            ask(state)
    assert env.action_space.contains(np.asarray(env.behaviour_action(jax.random.key(1), state)))
