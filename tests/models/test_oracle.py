"""The oracle on a point mass: blocks, order of actions, states as pytrees."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv
from gymnasium.spaces import Box

from envs_mjx.checks import UserError
from swmjax.models import OracleModel
from swmjax.planning import CEMSolver, block_space, solve


@dataclass(frozen=True)
class PointMass:
    """State {position, steps}; the action is a velocity, and the step number scales it so that order matters."""

    @property
    def action_space(self):
        return Box(-1.0, 1.0, (2,), np.float32)

    def step(self, state, action):
        steps = state["steps"] + 1
        return {"position": state["position"] + action * steps, "steps": steps, "key": state["key"]}

    def rollout(self, state, actions, keep):
        def advance(before, action):
            after = self.step(before, action)
            return after, keep(after)

        return jax.lax.scan(advance, state, actions)


STATE = {"position": jnp.asarray([1.0, 2.0]), "steps": jnp.zeros(()), "key": jax.random.key(0)}


def test_rollout_steps_through_blocks_in_order():
    actions = jnp.arange(2 * 2 * 6.0).reshape(2, 2, 6)
    final = OracleModel(PointMass()).rollout(STATE, actions)
    sequence = np.asarray(actions).reshape(2, 6, 2)
    expected = np.asarray(STATE["position"]) + (sequence * np.arange(1, 7)[None, :, None]).sum(1)
    np.testing.assert_allclose(final["position"], expected)
    np.testing.assert_array_equal(final["steps"], [6, 6])


def test_planning_through_physics_reaches_a_goal():
    env = PointMass()
    goal = jnp.asarray([3.0, -1.0])

    @jax.jit
    def plan(state, key):
        cost = OracleModel(env).cost_fn(state, lambda final: jnp.sum(jnp.square(final["position"] - goal)))
        return solve(CEMSolver(100, 10, 10), cost, block_space(env.action_space, 2), key, 3)

    result = plan(STATE, jax.random.key(0))
    final = OracleModel(env).rollout(STATE, result.actions[None])
    np.testing.assert_allclose(final["position"][0], goal, atol=0.2)


def test_actions_must_be_whole_blocks():
    with pytest.raises(ValueError, match="blocks of environment actions of size 2, got size 3"):
        OracleModel(PointMass()).rollout(STATE, jnp.zeros((1, 2, 3)))


def test_running_costs_are_added_up_beside_the_final_one():
    actions = jnp.arange(2 * 2 * 6.0).reshape(2, 2, 6)
    oracle = OracleModel(PointMass())

    def height(state):
        return state["position"][1]

    sequence = np.asarray(actions).reshape(2, 6, 2)[..., 1]
    heights = 2 + np.cumsum(sequence * np.arange(1, 7), axis=1)
    np.testing.assert_allclose(oracle.cost_fn(STATE, None, height)(actions), heights.sum(1))
    both = oracle.cost_fn(STATE, lambda final: 10 * final["steps"], height)
    np.testing.assert_allclose(both(actions), heights.sum(1) + 60)


def test_some_cost_must_be_given():
    with pytest.raises(ValueError, match="cost_fn needs objective"):
        OracleModel(PointMass()).cost_fn(STATE, None)


def test_batches_of_states_are_refused_with_a_sentence():
    env = GoalEnv()
    states = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 3))
    oracle = OracleModel(env)
    message = r"OracleModel takes the state of one environment, got a batch of \[3\]: solve_batch, or jax.vmap"
    for call in (
        lambda state: oracle.cost_fn(state, env.planning_cost),
        lambda state: oracle.rollout(state, jnp.zeros((2, 1, 1))),
    ):
        with pytest.raises(UserError, match=message):
            call(states)
    costs = jax.vmap(lambda state: oracle.cost_fn(state, env.planning_cost)(jnp.zeros((2, 1, 1))))(states)
    np.testing.assert_allclose(costs[:, 0], states.physics[:, 0] ** 2, rtol=1e-6)
