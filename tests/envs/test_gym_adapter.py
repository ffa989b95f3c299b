"""Gymnasium's single and vector interface over a functional environment."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs_mjx
from envs_mjx import gym_adapter, programs

ID = "test/GymPoint-v0"


@pytest.fixture(autouse=True, scope="module")
def _registered():
    if ID not in envs_mjx.registered_ids():
        envs_mjx.register(ID, "toy_env:PointEnv")


def test_passes_gymnasiums_checker():
    env = gymnasium.make(ID, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=False)


def test_seed_decides_the_episode():
    env = gymnasium.make(ID)
    first, info = env.reset(seed=4)
    assert isinstance(first["x"], np.ndarray)
    assert first["x"].dtype == np.float64
    assert set(info) == {"distance", "invalid_action", "invalid_state"}
    np.testing.assert_array_equal(env.reset(seed=4)[0]["x"], first["x"])
    assert not np.array_equal(env.reset()[0]["x"], first["x"])


def test_reset_options_reach_the_environment():
    env = gymnasium.make(ID)
    options = {"variation": (), "variation_values": {"start.x": [0.25]}, "goal": np.array([0.75], np.float32)}
    observation, info = env.reset(seed=0, options=options)
    assert observation["x"] == 0.25
    assert info["distance"] == 0.5
    assert env.unwrapped.variation_space.value["start"]["x"] == np.float32(0.25)
    for bad in ({"variation": ("strat.x",)}, {"variation_values": {"start.x": [7.0]}}):
        with pytest.raises(ValueError, match=r"start\.x"):
            env.reset(options=bad)


def test_step_returns_python_scalars_and_checks_the_action():
    env = gymnasium.make(ID, gain=0.5).unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(1, np.float32))
    env.reset(seed=0, options={"variation": ()})
    observation, reward, terminated, truncated, _ = env.step(np.array([-1.0], np.float32))
    assert observation["x"] == 0.0
    assert (reward, terminated, truncated) == (0.0, True, False)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(2, np.float32))


def test_render_modes():
    env = gymnasium.make(ID, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((4, 6, 3), np.uint8)
    with pytest.raises(ValueError, match="rgb_array"):
        gym_adapter.GymnasiumEnv(ID, render_mode="human")


def test_vector_environments_are_the_single_ones():
    vector = gymnasium.make_vec(ID, num_envs=3)
    observation, _ = vector.reset(seed=10)
    actions = np.full((3, 1), 0.2, np.float32)
    stepped = vector.step(actions)[0]
    for i in range(3):
        single = gymnasium.make(ID)
        np.testing.assert_array_equal(single.reset(seed=10 + i)[0]["x"], observation["x"][i])
        np.testing.assert_allclose(single.step(actions[i])[0]["x"], stepped["x"][i], rtol=1e-6)


def test_an_ended_episode_restarts_at_the_next_step():
    vector = gymnasium.make_vec(ID, num_envs=2, max_episode_steps=3)
    vector.reset(seed=0, options={"variation_values": {"start.x": [0.5]}})
    still, to_goal = np.array([0.0], np.float32), np.array([-0.5], np.float32)
    _, _, terminated, truncated, _ = vector.step(np.stack([to_goal, still]))
    np.testing.assert_array_equal(terminated, [True, False])
    observation, reward, terminated, truncated, _ = vector.step(np.stack([still, still]))
    assert observation["x"][0] != 0.0
    assert reward[0] == 0.0
    np.testing.assert_array_equal(vector.unwrapped.state.step, [0, 2])
    truncated = vector.step(np.stack([still, still]))[3]
    np.testing.assert_array_equal(truncated, [False, True])


def test_vector_seeds_and_rendering():
    vector = gymnasium.make_vec(ID, num_envs=2, render_mode="rgb_array")
    a, _ = vector.reset(seed=[5, 5])
    np.testing.assert_array_equal(a["x"][0], a["x"][1])
    frames = vector.render()
    assert len(frames) == 2
    assert frames[0].shape == (4, 6, 3)
    with pytest.raises(ValueError, match="seed"):
        vector.reset(seed=[1, 2, 3])


def test_one_compiled_step_serves_all_instances():
    one = gymnasium.make(ID, gain=0.125)
    other = gymnasium.make(ID, gain=0.125)
    for env in (one, other):
        env.reset(seed=0)
        before = programs.step._cache_size()
        env.step(np.zeros(1, np.float32))
    assert programs.step._cache_size() == before
    assert jax.tree.structure(one.unwrapped.state) == jax.tree.structure(other.unwrapped.state)
