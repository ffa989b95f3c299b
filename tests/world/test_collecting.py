"""Collected datasets: the reference's alignment of rows, and episodes that depend on their seeds alone."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, unchecked_types

import envs_mjx
from swmjax.data import decode_jpeg
from swmjax.models.actor import Actor
from swmjax.policies import ExpertPolicy, RandomPolicy
from swmjax.runs.interrupts import Stopped
from swmjax.world import collect

lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
ENV = GoalEnv(gain=0.1)


def collected(path, count, **options):
    """Columns as arrays, images decoded."""
    settings = {"max_steps": 6, "seed": 3, "image_size": 8, "batch_size": 3} | options
    policy = settings.pop("policy", RandomPolicy.of(ENV.action_space))
    assert collect(ENV, policy, path, count, **settings) == count
    table = lance.dataset(str(path)).to_table()
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if "pixels" in columns:
        columns["pixels"] = [decode_jpeg(data) for data in columns["pixels"]]
    return {name: np.array(column) for name, column in columns.items()}


def test_rows_are_aligned_as_in_the_reference(tmp_path):
    data = collected(tmp_path / "set.lance", 5)
    assert list(data) == [
        "episode_idx", "step_idx", "distance", "render_time", "pixels", "x", "reward", "terminated", "truncated",
        "action", "id",
    ]  # fmt: skip
    ended_early = 0
    for number in range(5):
        rows = {name: column[data["episode_idx"] == number] for name, column in data.items()}
        length = len(rows["x"])
        np.testing.assert_array_equal(rows["step_idx"], np.arange(length))
        np.testing.assert_array_equal(np.isnan(rows["action"][:, 0]), np.arange(length) == length - 1)
        np.testing.assert_array_equal(np.isnan(rows["reward"][:, 0]), np.arange(length) == 0)
        np.testing.assert_allclose(np.diff(rows["x"], axis=0), 0.1 * rows["action"][:-1], atol=1e-6)
        np.testing.assert_allclose(rows["reward"][1:], -rows["distance"][1:])
        assert not rows["terminated"][1:-1].any()
        assert not rows["truncated"][:-1].any()
        assert rows["terminated"][-1] + rows["truncated"][-1] == 1
        assert rows["truncated"][-1] == (length == 7 and rows["distance"][-1] >= 0.1)
        assert len(np.unique(rows["id"])) == 1
        ended_early += length < 7
        start = ENV.reset(jax.random.key(3 + number))
        np.testing.assert_allclose(rows["x"][0], start.obs["x"])
    assert 0 < ended_early < 5
    assert len(np.unique(data["id"])) == 5
    assert data["pixels"].shape[1:] == (8, 8, 3)
    np.testing.assert_allclose(data["pixels"], 255, atol=1)


def test_episodes_depend_on_their_seeds_alone(tmp_path):
    whole = collected(tmp_path / "whole.lance", 5, image_size=None)
    assert "pixels" not in whole
    collect(ENV, RandomPolicy.of(ENV.action_space), tmp_path / "parts.lance", 2, max_steps=6, seed=3, image_size=None)
    parts = collected(tmp_path / "parts.lance", 3, image_size=None, seed=5, mode="append", batch_size=1)
    for name, column in whole.items():
        np.testing.assert_allclose(column, parts[name], rtol=1e-6)


def test_sampled_factors_become_columns(tmp_path):
    data = collected(tmp_path / "set.lance", 3, variation=("shade",))
    shades = data["variation_shade"][:, 0]
    assert "variation_start_x" not in data
    assert len(np.unique(shades)) == 3
    np.testing.assert_allclose(data["pixels"][:, 0, 0, 0], np.floor(255 * shades), atol=2)


def test_the_expert_acts_with_noise(tmp_path):
    one = jnp.ones(1)
    weights = {"kernels": (jnp.array([[1.0, 0.0]]),), "biases": (jnp.array([0.2, 0.0]),)}
    actor = Actor(mean=0 * one, std=one, **weights, low=-one, high=one, observations=("x",), activation="relu")
    policy = ExpertPolicy(actor, deterministic=True, noise=0.1)
    data = collected(tmp_path / "set.lance", 4, policy=policy, image_size=None)
    acted = ~np.isnan(data["action"][:, 0])
    mode = np.asarray(policy.actor.mode({"x": jnp.asarray(data["x"][acted], jnp.float32)}))
    noise = data["action"][acted] - mode
    assert 0.02 < noise.std() < 0.3
    assert len(np.unique(noise)) > 3


def test_interruptions_keep_whole_episodes_and_errors_nothing(tmp_path):
    path = tmp_path / "set.lance"
    policy = RandomPolicy.of(ENV.action_space)

    def third(stage, done):
        if (stage, done) == ("episodes", 3):
            os.kill(os.getpid(), signal.SIGINT)

    options = {"max_steps": 4, "image_size": None}
    with pytest.raises(Stopped) as stopped:
        collect(ENV, policy, path, 5, **options, progress=third)
    assert stopped.value.done == 3
    assert set(lance.dataset(str(path)).to_table().column("episode_idx").to_pylist()) == {0, 1, 2}

    def broken(stage, done):
        if done == 2:
            raise RuntimeError("no more")

    for mode in ("append", "overwrite"):
        with pytest.raises(RuntimeError, match="no more"):
            collect(ENV, policy, path, 5, **options, mode=mode, progress=broken)
        assert lance.dataset(str(path)).version == 1
        assert [entry.name for entry in tmp_path.iterdir()] == ["set.lance"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes must be an integer of at least 1, got 0"),
        ({"max_steps": 0}, "max_steps must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"image_size": 0}, "image_size must be an integer of at least 1, got 0"),
        ({"variation": ("shape",)}, "unknown factor"),
        ({"env": envs_mjx.make("swm/CartPoleControl-v1")}, "CartPoleControl has the actions Discrete(2)"),
    ],
)
def test_mistakes(tmp_path, changes, message):
    arguments = {"env": ENV, "policy": RandomPolicy.of(ENV.action_space), "episodes": 1, "path": tmp_path / "set.lance"}
    with unchecked_types(), pytest.raises(ValueError) as caught:
        collect(**arguments | changes)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


GOLDEN_PUSHT = {
    "pos_agent": 2, "vel_agent": 2, "block_pose": 3, "goal_pose": 3, "goal_state": 7, "goal_proprio": 4,
    "n_contacts": 1, "goal": None, "render_time": 1, "pixels": None, "proprio": 4, "state": 7, "reward": 1,
    "terminated": 1, "truncated": 1, "action": 2, "id": 1,
}  # fmt: skip
"""Columns of a PushT dataset that the reference recorded, with their sizes; None for images."""


@pytest.mark.slow
def test_pusht_has_the_columns_of_the_reference(tmp_path):
    env = envs_mjx.make("swm/PushT-v1", agent_shapes="circle")
    collect(env, RandomPolicy.of(env.action_space), tmp_path / "set.lance", 2, max_steps=3, image_size=64)
    schema = lance.dataset(str(tmp_path / "set.lance")).schema
    found = {field.name: getattr(field.type, "list_size", None) for field in schema}
    assert found == {"episode_idx": None, "step_idx": None} | GOLDEN_PUSHT
    images = [name for name in found if schema.field(name).type == "binary"]
    assert sorted(images) == ["goal", "pixels"]


@pytest.mark.slow
def test_a_task_of_the_control_suite(tmp_path):
    env = envs_mjx.make("swm/PendulumDMControl-v0", resolution=64)
    collect(env, RandomPolicy.of(env.action_space), tmp_path / "set.lance", 2, max_steps=3, image_size=32)
    table = lance.dataset(str(tmp_path / "set.lance")).to_table()
    assert table.num_rows == 8
    frames = [decode_jpeg(data) for data in table.column("pixels").to_pylist()]
    assert np.shape(frames) == (8, 32, 32, 3)
    assert np.std(frames) > 1
    assert {"qpos", "qvel", "observation", "score"} <= set(table.column_names)
