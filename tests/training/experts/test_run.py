"""Trainings as a whole: what they write, and that a stopped one goes on as if it had not been stopped."""

import dataclasses
import json
import os
import shutil
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import registered
from tiny_training import ALGORITHMS, same_to_the_bit, settings

from swmjax.checkpoints.actors import read_actor
from swmjax.policies import load_expert
from swmjax.runs.interrupts import Stopped
from swmjax.training import ExpertConfig, train_expert
from swmjax.training.progress import read_table
from swmjax.training.states import load_state, saved_epochs


@pytest.fixture(autouse=True)
def toy():
    with registered():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the results of a training without interruption, by algorithm."""
    done = {}

    def run(algorithm):
        if algorithm not in done:
            folder = tmp_path_factory.mktemp(algorithm)
            done[algorithm] = folder, train_expert(settings(algorithm), folder)
        return done[algorithm]

    return run


def last_state(config, folder):
    like = jax.eval_shape(lambda key: config.make_algorithm().init(config.make_env(), key), jax.random.key(0))
    return load_state(folder, saved_epochs(folder)[-1], like)


def compared_rows(folder):
    """Rows without the time, as text, in which NaN equals NaN."""
    rows = read_table(folder, 10**9)
    return [{name: repr(value) for name, value in row.items() if name != "seconds"} for row in rows]


def interrupt_before(epoch):
    """A progress callback that sends Ctrl-C when an epoch begins."""
    begun = []

    def progress(stage, steps):
        if stage == "training":
            begun.append(steps)
            if len(begun) == epoch:
                os.kill(os.getpid(), signal.SIGINT)

    return progress


def test_what_a_training_writes(whole):
    folder, results = whole("sac")
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints", "expert.npz", "learning_curve.png", "progress.csv",
    ]  # fmt: skip
    assert saved_epochs(folder) == [4, 6]
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    rows = read_table(folder, 10**9)
    assert [(row["epoch"], row["steps"]) for row in rows] == [(0, 0), (2, 32), (4, 64), (6, 96)]
    assert all(row["return_min"] <= row["return_mean"] <= row["return_max"] for row in rows)
    best = max(rows, key=lambda row: row["return_mean"])
    actor, facts = read_actor(folder / "expert.npz")
    assert (facts["env"], facts["return"]) == ("test/Goal-v0", best["return_mean"])
    assert actor.observations == ("x",)
    assert results["complete"] is True
    assert (results["steps"], results["best_return"]) == (96, best["return_mean"])
    json.dumps(results)


@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_a_stopped_training_goes_on_to_the_same_bits(whole, tmp_path, algorithm):
    config = settings(algorithm)
    with pytest.raises(Stopped) as stopped:
        train_expert(config, tmp_path, interrupt_before(3))
    assert stopped.value.done == 3 * config.steps_per_epoch
    assert saved_epochs(tmp_path) == [2, 3]
    train_expert(config, tmp_path)
    folder, _ = whole(algorithm)
    assert compared_rows(tmp_path) == compared_rows(folder)
    states = [last_state(config, path) for path in (folder, tmp_path)]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert same_to_the_bit(a, b)
    assert (folder / "expert.npz").read_bytes() == (tmp_path / "expert.npz").read_bytes()


def test_a_run_that_died_goes_on_from_its_last_state(whole, tmp_path):
    folder, results = whole("sac")
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / "checkpoints" / "000006")
    (copy / "checkpoints" / "000006.orbax-checkpoint-tmp-1").mkdir()
    (copy / "learning_curve.png").unlink()
    again = train_expert(settings(), copy)
    assert again["final_return"] == results["final_return"]
    assert [row["epoch"] for row in read_table(copy, 10**9)] == [0, 2, 4, 6]
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == ["000004", "000006"]


def test_without_matplotlib_there_is_one_line_and_no_curve(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    said = []
    train_expert(settings(), tmp_path, note=said.append)
    assert said == ["the learning curve needs matplotlib, which is not installed: pip install 'swmjax[plot]'"]
    assert not (tmp_path / "learning_curve.png").exists()
    assert len(read_table(tmp_path, 10**9)) == 4


def test_damaged_and_foreign_states_name_their_folder(whole, tmp_path):
    folder, _ = whole("sac")
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(ValueError, match="000006: is a state of other settings .*move it away to go on from an older"):
        train_expert(dataclasses.replace(settings(), algorithm=ALGORITHMS["sac"] | {"hidden": [4]}), copy)
    with pytest.raises(ValueError, match="000006: is a state of other settings .it differs in"):
        train_expert(settings("ppo"), copy)
    for path in (copy / "checkpoints" / "000006").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * 10)
    with pytest.raises(ValueError, match="000006: is damaged"):
        train_expert(settings(), copy)
    (copy / "progress.csv").write_text("epoch,steps\n1,few\n")
    with pytest.raises(ValueError, match="progress.csv: is damaged"):
        read_table(copy, 10)


def test_the_expert_acts_as_it_was_trained(whole):
    folder, _ = whole("sac")
    env = settings().make_env().env
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 3))
    policy = load_expert(folder, deterministic=True)
    actions, _ = policy.act(policy.init(jnp.arange(3), states.obs), states.obs, jnp.ones(3, bool))
    np.testing.assert_allclose(actions, read_actor(folder / "expert.npz")[0].mode(states.obs), atol=1e-6)


def test_settings_survive_their_file():
    config = settings(variation=("start",))
    assert ExpertConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.epochs, config.iterations_per_epoch, config.steps_per_epoch) == (6, 4, 16)
