"""`swmjax collect` as users run it: datasets of random actions and of experts, and one line for every mistake."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from command_line import Command
from goal_env import GoalEnv, registered, unchecked_types

import envs_mjx
from swmjax.checkpoints.actors import write_actor
from swmjax.data import LanceWriter
from swmjax.models.actor import Actor
from swmjax.policies import RandomPolicy
from swmjax.world.continuing import collection_settings

lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
SHORT = ["test/Goal-v0", "--max-steps=3", "--no-pixels"]

COMMAND = Command("collect")
run, refused = COMMAND.run, COMMAND.refused


@pytest.fixture(autouse=True)
def as_users(tmp_path, monkeypatch):
    """An empty current folder and a toy environment."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with registered(), unchecked_types():
        yield


@pytest.fixture
def expert(tmp_path):
    """A run folder with an expert that always moves left."""
    folder = tmp_path / "run"
    folder.mkdir()
    one = jnp.ones(1)
    actor = Actor(
        mean=0 * one, std=one, kernels=(jnp.zeros((1, 2)),), biases=(jnp.array([-9.0, -9.0]),), low=-one, high=one,
        observations=("x",), activation="relu",
    )  # fmt: skip
    write_actor(folder / "expert.npz", actor, {})
    return folder


def column(path, name):
    return np.array(lance.dataset(str(path)).to_table().column(name).to_pylist())


def test_random_actions_append_and_overwrite():
    result = run(*SHORT, "--episodes=3", "--output=data/set.lance", "--set=env_options.gain=0.01")
    assert result.stdout == "3 episodes of test/Goal-v0 written to data/set.lance\n"
    assert result.stderr.strip() == ""
    assert set(column("data/set.lance", "episode_idx")) == {0, 1, 2}
    assert "exists; append to it or overwrite it" in refused(*SHORT, "--output=data/set.lance")
    run(*SHORT, "--episodes=2", "--output=data/set.lance", "--append", "--seed=3")
    line = refused(*SHORT, "--episodes=2", "--output=data/set.lance", "--append", "--seed=4")
    assert "2 episodes from seed 4 on have the seeds 4 to 5, but the dataset holds those of 0 to 4 already" in line
    for _ in range(2):
        run(*SHORT, "--episodes=1", "--output=data/set.lance", "--append")
    assert column("data/set.lance", "seed")[column("data/set.lance", "step_idx") == 0].tolist() == list(range(7))
    assert set(column("data/set.lance", "episode_idx")) == set(range(7))
    printed = json.loads(run(*SHORT, "--episodes=1", "--output=data/set.lance", "--overwrite", "--json").stdout)
    expected = {"env": "test/Goal-v0", "policy": "random", "episodes": 1, "path": "data/set.lance", "notes": []}
    assert printed == expected
    assert set(column("data/set.lance", "episode_idx")) == {0}


def test_what_the_environment_says_of_itself_is_told_and_decides_what_goes_on(monkeypatch):
    monkeypatch.setattr(GoalEnv, "remarks", ("made of toys",))
    result = run(*SHORT, "--episodes=2", "--output=set.lance", "--json")
    assert json.loads(result.stdout)["notes"] == ["made of toys"]
    assert "made of toys" in result.stderr
    random = RandomPolicy.of(GoalEnv().action_space)
    toys = collection_settings(GoalEnv(), random)
    monkeypatch.setattr(GoalEnv, "remarks", ())
    assert toys == collection_settings(GoalEnv(), random) | {"remarks": ["made of toys"]}


def test_an_expert_with_pixels_and_factors(expert):
    run(
        "test/Goal-v0", f"--policy={expert}", "--output=set.lance", "--episodes=2", "--max-steps=3", "--noise=0",
        "--image-size=8", "--variation=shade", "--variation=start",
    )  # fmt: skip
    actions = column("set.lance", "action")
    np.testing.assert_allclose(actions[~np.isnan(actions)], -1.0, atol=1e-6)
    assert {"pixels", "variation_shade", "variation_start_x"} <= set(lance.dataset("set.lance").schema.names)


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_same_command_goes_on_after_a_signal(monkeypatch, number):
    write_episode, done = LanceWriter.write_episode, []

    def write(self, episode):
        write_episode(self, episode)
        done.append(episode)
        if len(done) == 2:
            os.kill(os.getpid(), number)

    command = [*SHORT, "--output=set.lance", "--episodes=5", "--seed=7", "--batch-size=3"]
    with monkeypatch.context() as patch:
        patch.setattr(LanceWriter, "write_episode", write)
        said = run(*command, code=130).stderr
    kept = "2 of 5 episodes are kept in set.lance; the same command collects the others"
    assert said.strip() == f"error: interrupted: {kept}"
    assert [path.name for path in Path.cwd().iterdir()] == ["set.lance"]
    result = run(*command)
    assert result.stdout == "5 episodes of test/Goal-v0 written to set.lance\n"
    assert result.stderr.split() == (
        "note: set.lance holds 2 of these 5 episodes, from a run that was stopped; collecting the others".split()
    )
    run(*SHORT, "--output=whole.lance", "--episodes=5", "--seed=7", "--batch-size=3")
    for name in ("episode_idx", "x", "id", "seed"):
        np.testing.assert_array_equal(column("set.lance", name), column("whole.lance", name))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_anything_runs_is_one_line(monkeypatch, number):
    monkeypatch.setattr(envs_mjx, "make", lambda *args, **options: os.kill(os.getpid(), number))
    before = [signal.getsignal(each) for each in SIGNALS]
    assert run(*SHORT, "--output=deep/set.lance", code=130).stderr == "error: interrupted\n"
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert list(Path.cwd().iterdir()) == []


_KILLED = """
import os, signal, sys
from goal_env import registered
from swmjax.cli.app import app
from swmjax.data import formats
from swmjax.data.formats import LanceWriter

formats.lance._GROUP_BYTES = 1
write_episode = LanceWriter.write_episode

def write(self, episode):
    if self.episodes == 3:
        signal.raise_signal(signal.SIGKILL)
    write_episode(self, episode)

LanceWriter.write_episode = write
with registered():
    app()
"""


def test_a_kill_keeps_all_but_the_last_group():
    command = [*SHORT, "--output=set.lance", "--episodes=5", "--seed=7", "--batch-size=3"]
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, "collect", *command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert set(column("set.lance", "episode_idx")) == {0, 1, 2}
    run(*command)
    run(*SHORT, "--output=whole.lance", "--episodes=5", "--seed=7", "--batch-size=3")
    for name in ("episode_idx", "id", "seed"):
        np.testing.assert_array_equal(column("set.lance", name), column("whole.lance", name))
    np.testing.assert_allclose(column("set.lance", "x"), column("whole.lance", "x"), rtol=1e-6)
    assert {path.name for path in Path.cwd().iterdir()} == {"set.lance", "whole.lance"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PushT-v2"], "unknown environment 'swm/PushT-v2'"),
        (
            ["test/Goal-v0", "--policy=nowhere"],
            "--policy: unknown policy 'nowhere'; known are 'random'; a run",
        ),
        (["test/Goal-v0", "--policy=."], "expert.npz: no such file; expected an actor"),
        (["test/Goal-v0", "--episodes=0"], "episodes must be an integer of at least 1, got 0"),
        (["test/Goal-v0", "--variation=shape"], "unknown factor"),
        (["test/Goal-v0", "--task=run"], "unknown argument of test/Goal-v0 'task'"),
        (["test/Goal-v0", "--set=seed=3"], "unknown setting 'seed'; --set changes env_options"),
        (["test/Goal-v0", "--set=env_options=3"], "env_options must be a mapping of names to values, got 3"),
        (["test/Goal-v0", "--append", "--overwrite"], "--append and --overwrite exclude each other"),
        (["test/Goal-v0", "--output=set.h5"], "set.h5: the name of a dataset must end in .lance"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    if not any(argument.startswith("--output") for argument in arguments):
        arguments = [*arguments, "--output=set.lance"]
    assert message in refused(*arguments)


def test_an_expert_of_another_task(expert):
    line = refused("PendulumControl-v1", f"--policy={expert}", "--output=set.lance")
    assert "this expert observes x of length 1, but swm/PendulumControl-v1 has observation of length 0" in line
    assert "noise must be finite and at least 0" in refused(
        *SHORT, f"--policy={expert}", "--noise=-1", "--output=s.lance"
    )


def test_without_pylance_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    line = refused(*SHORT, "--output=set.lance")
    assert line == "error: datasets need lance, which is not installed: pip install 'swmjax[data]'"
