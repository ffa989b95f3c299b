"""Gymnasium's single and vector interface over a functional environment."""

import gymnasium
import jax
import numpy as np
import pytest
from goal_env import unchecked_types
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

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


def test_seeds_beyond_32_bits_are_episodes_of_their_own():
    single, vector = gymnasium.make(ID), gymnasium.make_vec(ID, num_envs=2)
    seeds = (7, 2**32 - 1, 7 + 2**32, 7 + 2**33, 7 + 2**64)
    starts = [single.reset(seed=seed)[0]["x"][0] for seed in seeds]
    assert len(set(starts)) == len(seeds)
    # Seeds of 32 bits are JAX's own.
    for seed, start in zip(seeds[:2], starts, strict=False):
        assert start == envs_mjx.make(ID).reset(jax.random.key(seed)).obs["x"][0]
    np.testing.assert_array_equal(vector.reset(seed=[7 + 2**32, 7])[0]["x"][:, 0], [starts[2], starts[0]])
    around = vector.reset(seed=2**32 - 1)[0]["x"][:, 0]
    np.testing.assert_array_equal(around, [starts[1], single.reset(seed=2**32)[0]["x"][0]])


@pytest.mark.parametrize("seed", [-1, True, 1.5, "one"])
def test_other_seeds_are_refused(seed):
    single, vector = gymnasium.make(ID).unwrapped, gymnasium.make_vec(ID, num_envs=1)
    for env, given in ((single, seed), (vector, seed), (vector, [seed])):
        with unchecked_types(), pytest.raises(ValueError, match="seed must be"):
            env.reset(seed=given)


def test_a_list_of_seeds_may_leave_some_open():
    vector = gymnasium.make_vec(ID, num_envs=3)
    first, again = (vector.reset(seed=[1, None, np.int64(3)])[0]["x"][:, 0] for _ in range(2))
    np.testing.assert_array_equal(first[[0, 2]], again[[0, 2]])
    assert first[1] != again[1]
    np.testing.assert_array_equal(first[0], gymnasium.make(ID).reset(seed=np.int64(1))[0]["x"][0])
    vector.reset(seed=5)
    drawn = [vector.reset(seed=[1, None, 3])[0]["x"][1, 0], vector.reset()[0]["x"][1, 0]]
    vector.reset(seed=5)
    assert drawn == [vector.reset(seed=[1, None, 3])[0]["x"][1, 0], vector.reset()[0]["x"][1, 0]]


STILL, TO_GOAL = np.array([0.0], np.float32), np.array([-0.5], np.float32)
AT_HALF = {"variation_values": {"start.x": [0.5]}}


def test_a_mask_says_which_environments_are_reset():
    vector = gymnasium.make_vec(ID, num_envs=3)
    with pytest.raises(RuntimeError, match="reset"):
        vector.reset(options={"reset_mask": np.array([True, False, False])})
    vector.reset(seed=0)
    moved = vector.step(np.full((3, 1), 0.125, np.float32))[0]["x"]
    options = {"reset_mask": np.array([False, True, False]), **AT_HALF}
    observation, _ = vector.reset(seed=[1, 2, 3], options=options)
    np.testing.assert_array_equal(observation["x"], [moved[0], [0.5], moved[2]])
    np.testing.assert_array_equal(vector.unwrapped.state.step, [1, 0, 1])
    assert set(options) == {"reset_mask", "variation_values"}
    for bad in (np.zeros(3, bool), np.ones(2, bool), np.ones(3, int), [0, 1, 0]):
        with pytest.raises(ValueError, match="reset_mask.* must be an array of 3 truth values"):
            vector.reset(options={"reset_mask": bad})


def test_episodes_restart_in_the_same_step_where_that_is_asked_for():
    vector = gymnasium.make_vec(ID, num_envs=2, autoreset_mode="SameStep")
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    _, info = vector.reset(seed=0, options=AT_HALF)
    assert set(info) == {"distance", "invalid_action", "invalid_state"}
    _, _, terminated, _, info = vector.step(np.stack([STILL, STILL]))
    assert not terminated.any()
    assert "final_obs" not in info
    observation, reward, terminated, _, info = vector.step(np.stack([TO_GOAL, STILL]))
    np.testing.assert_array_equal(terminated, [True, False])
    np.testing.assert_array_equal(reward, [0.0, -0.5])
    assert observation["x"][0] != 0.0
    assert info["final_obs"][0] == {"x": [0.0]}
    assert info["final_obs"][1] is None
    assert info["final_info"]["distance"][0] == 0.0
    for mask in (info["_final_obs"], info["_final_info"], info["final_info"]["_distance"]):
        np.testing.assert_array_equal(mask, [True, False])


def test_episodes_are_the_users_to_reset_where_that_is_asked_for():
    vector = gymnasium.make_vec(ID, num_envs=2, autoreset_mode=AutoresetMode.DISABLED)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    vector.reset(seed=0, options=AT_HALF)
    observation, _, terminated, _, _ = vector.step(np.stack([TO_GOAL, STILL]))
    np.testing.assert_array_equal(observation["x"][:, 0], [0.0, 0.5])
    with pytest.raises(ValueError, match=r"episodes of environments \[0\] have ended"):
        vector.step(np.stack([STILL, STILL]))
    vector.reset(options={"reset_mask": terminated})
    vector.step(np.stack([STILL, STILL]))
    np.testing.assert_array_equal(vector.unwrapped.state.step, [1, 2])


def test_bad_arguments_of_vector_environments_are_refused():
    for arguments, message in (
        ({"autoreset_mode": "samestep"}, "autoreset_mode must be one of 'NextStep', 'SameStep', 'Disabled'"),
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            gym_adapter.GymnasiumVectorEnv(ID, **arguments)


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
