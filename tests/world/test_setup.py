"""From settings to environment and policy: what does not fit is refused, with file, setting and what is expected."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, registered, unchecked_types

from swmjax.checkpoints import load_pretrained
from swmjax.policies import ActionScaler, LatentShooting, OracleShooting, PlanConfig
from swmjax.world import EvalConfig, set_up
from swmjax.world.setup import read_action_stats

MINI = Path(__file__).parents[1] / "golden" / "lewm_mini_hf4"
STATS = {"action_mean": [0.5], "action_std": [2.0]}


@pytest.fixture(autouse=True)
def goal_env():
    with registered():
        yield


@pytest.fixture
def checkpoint(tmp_path):
    return shutil.copytree(MINI, tmp_path / "run")


def settings(model="oracle", block=10, env="test/Goal-v0", **others):
    return EvalConfig(env=env, model=str(model), plan=PlanConfig(2, 1, block), **others)


def test_the_oracle_plans_in_the_environments_units():
    setup = set_up(settings(env_options={"gain": 0.5}))
    assert setup.env == GoalEnv(gain=0.5)
    assert (setup.weights, setup.notes) == (None, ())
    policy = setup.policy(setup.weights)
    assert isinstance(policy.task, OracleShooting)
    assert policy.task.model.env == setup.env
    assert policy.task.space == setup.env.action_space
    assert policy.config == PlanConfig(2, 1, 10)


def test_a_checkpoint_sees_frames_of_its_own_size(checkpoint):
    setup = set_up(settings(checkpoint, problems_at_once=None))
    task = setup.policy(setup.weights).task
    assert isinstance(task, LatentShooting)
    assert task.problems_at_once is None
    states = jax.vmap(setup.env.reset)(jax.random.split(jax.random.key(0), 2))
    frames = task.frames(states)
    assert (frames.shape, frames.dtype) == ((2, 56, 56, 3), jnp.uint8)
    assert np.all(np.asarray(frames) == 255)
    assert task.goals(states).shape == (2, 1, 32)


def test_weights_are_arguments_of_the_program(checkpoint):
    setup = set_up(settings(checkpoint))
    states = jax.vmap(setup.env.reset)(jax.random.split(jax.random.key(0), 1))

    def latent(weights):
        return setup.policy(weights).task.goals(states)

    zeros = jax.tree.map(jnp.zeros_like, setup.weights)
    assert np.abs(latent(setup.weights)).max() > 0.0
    assert np.abs(latent(zeros)).max() == 0.0


def test_without_statistics_there_is_a_note(checkpoint):
    setup = set_up(settings(checkpoint))
    assert setup.policy(setup.weights).task.scaler == ActionScaler((0.0,), (1.0,))
    (note,) = setup.notes
    assert "no action_stats.json beside the checkpoint" in note
    assert "--action-stats" in note


def test_statistics_beside_the_checkpoint_and_given_ones(checkpoint, tmp_path):
    (checkpoint / "action_stats.json").write_text(json.dumps(STATS | {"comment": "of single actions"}))
    setup = set_up(settings(checkpoint / "weights.pt"))
    assert setup.notes == ()
    assert setup.policy(setup.weights).task.scaler == ActionScaler((0.5,), (2.0,))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"action_mean": [1], "action_std": [3]}))
    setup = set_up(settings(checkpoint, action_stats=str(other)))
    assert setup.notes == ()
    assert setup.policy(setup.weights).task.scaler == ActionScaler((1.0,), (3.0,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON with action_mean and action_std, lists of 1 numbers"),
        ("[]", "expected JSON"),
        ("5", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('{"action_mean": [0]}', "expected JSON"),
        ('{"action_mean": 0, "action_std": 1}', "expected JSON"),
        ('{"action_mean": "0", "action_std": "1"}', "expected JSON"),
        ('{"action_mean": [true], "action_std": [1]}', "expected JSON"),
        ('{"action_mean": [null], "action_std": [1]}', "expected JSON"),
        ('{"action_mean": [[0]], "action_std": [[1]]}', "expected JSON"),
        ('{"action_mean": [1' + "0" * 400 + '], "action_std": [1]}', "expected JSON"),
        ('{"action_mean": [0, 0], "action_std": [1, 1]}', "action_mean has 2 entries; expected JSON .* 1 numbers"),
        ('{"action_mean": [0], "action_std": [1, 1]}', "must have the same length, got 1 and 2"),
        ('{"action_mean": [NaN], "action_std": [1]}', "action mean must be finite"),
        ('{"action_mean": [0], "action_std": [0]}', "above 0"),
    ],
)
def test_damaged_statistics_name_the_file(checkpoint, content, message):
    path = checkpoint / "action_stats.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        set_up(settings(checkpoint))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_statistics_that_cannot_be_read(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="none.json: No such file or directory; expected JSON"):
        set_up(settings(checkpoint, action_stats=str(tmp_path / "none.json")))
    with pytest.raises(ValueError, match="Is a directory; expected JSON"):
        read_action_stats(tmp_path, 1)
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    with pytest.raises(ValueError, match="latin.json: expected JSON"):
        read_action_stats(tmp_path / "latin.json", 1)


def test_another_action_block(checkpoint):
    with pytest.raises(
        ValueError, match=r"plan.action_block: .* takes planner actions of size 10, but blocks of 3"
    ) as e:
        set_up(settings(checkpoint, block=3))
    assert "but blocks of 3 actions of test/Goal-v0 have size 3" in str(e.value)
    with pytest.raises(ValueError, match="of 10 actions of swm/PushT-v1 have size 20"):
        set_up(settings(checkpoint, env="swm/PushT-v1"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "test/Gaol-v0"}, "unknown environment 'test/Gaol-v0'; did you mean 'test/Goal-v0'"),
        ({"env_options": {"gian": 1.0}}, "unknown argument of test/Goal-v0 'gian'; did you mean 'gain'"),
        ({"env": "swm/PushT-v1", "env_options": {"resolution": "high"}}, "resolution must be an integer of at least 8"),
        ({"model": "./nowhere"}, "nowhere: no such folder"),
        ({"model": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_what_does_not_exist(changes, message, tmp_path, monkeypatch):
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    with unchecked_types(), pytest.raises(ValueError, match=message):
        set_up(settings(**changes))


def test_frames_have_three_channels(checkpoint, monkeypatch):
    config = load_pretrained(checkpoint).config
    grey = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, num_channels=1))
    monkeypatch.setattr("swmjax.world.setup.load_pretrained", lambda name: SimpleNamespace(config=grey))
    with pytest.raises(ValueError, match="takes frames of 1 channels, but environments render 3"):
        set_up(settings(checkpoint))
