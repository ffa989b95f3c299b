"""The policies that environments bring: experts that solve their tasks, and behaviour policies that act."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_mjx
from envs_mjx.checks import UserError
from swmjax.policies import POLICIES, RandomPolicy, ScriptedPolicy, Start, make_policy, rollout

SOLVED = {
    "swm/TwoRoom-v1": 100,
    "swm/Piecewise-v0": 100,
    "swm/SimplePointMaze-v0": 100,
    "swm/VoidRun-v0": 60,
    "swm/MountainCarControl-v0": 200,
    "swm/MountainCarContinuousControl-v0": 200,
    "swm/AcrobotControl-v1": 300,
}
"""Steps in which experts reach what ends an episode."""


def played(env, policy, steps, episodes=8):
    seeds = jnp.arange(episodes)
    states = jax.jit(jax.vmap(lambda seed: env.reset(jax.random.key(seed))))(seeds)
    start = Start(states=states, seeds=seeds)
    return jax.jit(lambda policy: rollout(env, policy, start, steps, keep=lambda states, _: states.step))(policy)


@pytest.mark.parametrize(
    "name",
    [name if name == "swm/TwoRoom-v1" else pytest.param(name, marks=pytest.mark.slow) for name in sorted(SOLVED)],
)
def test_experts_solve_their_tasks(name):
    env = envs_mjx.make(name)
    result = played(env, make_policy("expert", env), SOLVED[name])
    assert np.asarray(result.states.success).mean() >= 0.85


@pytest.mark.slow
def test_experts_balance_and_swing_up():
    env = envs_mjx.make("swm/CartPoleControl-v1")
    assert (np.asarray(played(env, make_policy("expert", env), 300).length) == 300).all()
    env = envs_mjx.make("swm/PendulumControl-v1")
    states = jax.vmap(lambda seed: env.reset(jax.random.key(seed)))(jnp.arange(8))

    def step(states, _):
        actions = jax.vmap(lambda state: env.expert_action(jax.random.key(0), state))(states)
        return jax.vmap(env.step)(states, actions), None

    states, _ = jax.jit(lambda states: jax.lax.scan(step, states, length=200))(states)
    assert (np.cos(np.asarray(states.physics.vector[:, 0])) > 0.99).all()


def test_policies_by_name():
    env = envs_mjx.make("swm/PushT-v1", resolution=32)
    assert set(POLICIES) >= {"random", "weak", "expert"}
    assert make_policy("random", env) == RandomPolicy.of(env.action_space)
    weak = make_policy("weak", env)
    assert weak == ScriptedPolicy(env)
    assert weak.inputs == ("env_state",)
    result = played(env, weak, 3)
    assert (np.abs(np.asarray(result.actions)) <= 1).all()
    again = played(env, weak, 3)
    np.testing.assert_array_equal(result.actions, again.actions)
    with pytest.raises(UserError, match="PushT has no expert that is written by hand"):
        make_policy("expert", env)


def test_an_unknown_name_is_told(tmp_path):
    env = envs_mjx.make("swm/TwoRoom-v1")
    with pytest.raises(UserError, match="unknown policy 'wek'; did you mean 'weak'.*; a run folder of"):
        make_policy("wek", env)
