"""The contract of environments, on the smallest one."""

import jax
import jax.numpy as jnp
from toy_env import PointEnv

import envs_mjx


def test_states_show_shapes_and_not_numbers():
    state = PointEnv().reset(jax.random.key(0), variation=())
    shown = repr(state).splitlines()
    assert len(shown) == 13
    assert "  obs: x float32[1]" in shown
    assert "  reward: float32[]" in shown
    assert "  factors: start.x float32[1], shade float32[]" in shown
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
