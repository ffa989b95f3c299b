"""`swmjax train-expert` as users run it: run folders, interruptions, and one readable line for every mistake."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from command_line import Command
from goal_env import GoalEnv, registered, unchecked_types
from omegaconf import OmegaConf
from tiny_training import settings

from envs_mjx.checks import UserError
from swmjax.runs.watched import Watched
from swmjax.training import check_reward, load_expert_settings, train_expert
from swmjax.training.progress import read_table, write_table
from swmjax.world import RunFolder

COMMAND = Command("train-expert")
run, refused = COMMAND.run, COMMAND.refused


@pytest.fixture(autouse=True)
def as_users(tmp_path, monkeypatch):
    """An empty current folder and a toy environment; Brax relies on rank promotion."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with registered(), unchecked_types(), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def toy(tmp_path):
    """The option that selects the settings of the toy runs."""
    path = tmp_path / "toy.yaml"
    path.write_text(OmegaConf.to_yaml(settings().to_dict()))
    return f"--config={path}"


def test_a_run_and_its_report(toy):
    result = run(toy, "--seed=3")
    (folder,) = Path("results").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-goal-v0-sac", folder.name)
    files = ["checkpoints", "config.yaml", "expert.npz", "learning_curve.png", "progress.csv", "results.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    results = json.loads((folder / "results.json").read_text())
    shown = " ".join(result.stdout.split())
    for text in (
        "test/Goal-v0, sac",
        f"best return │ {results['best_return']:.1f} (after",
        "random actions",
        "96 of the environment, 80 of the gradient",
        f"written to {folder}: {', '.join(files)}",
        f"collect with: swmjax collect test/Goal-v0 --policy {folder} --output {folder.name}.lance",
    ):
        assert text in shown
    assert result.stderr.strip() == ""
    again = run(f"--config={folder}/config.yaml", "--json", "--output=again")
    printed = json.loads(again.stdout)
    assert printed["best_return"] == results["best_return"]
    assert printed["folder"] == "again"
    assert "this run is complete, nothing is left to resume" in refused("--resume=again")


def test_what_the_environment_says_of_itself_is_kept(toy, monkeypatch):
    monkeypatch.setattr(GoalEnv, "remarks", ("made of toys",))
    result = run(toy, "--output=run")
    assert Path("run/config.yaml").read_text().startswith("# made of toys\nformat: ")
    assert json.loads(Path("run/results.json").read_text())["notes"] == ["made of toys"]
    assert "made of toys" in result.stderr
    assert "environment │ made of toys" in " ".join(result.stdout.split())
    assert "nothing is left to resume" in refused("--resume=run")


def test_what_will_really_be_trained_is_said_before(toy, monkeypatch):
    """Six epochs of whole iterations of 4 steps: 24 steps at least."""
    monkeypatch.setattr("swmjax.training.experts.run.train", lambda *args, **options: pytest.fail("trained"))
    for steps, trained, iterations in ((20, 24, 1), (97, 120, 5)):
        notes = []
        with pytest.raises(pytest.fail.Exception, match="trained"):
            train_expert(settings(steps=steps), Path(), note=notes.append)
        assert notes == [
            f"{trained} steps will be trained instead of {steps}: there are 6 epochs (evaluations 3 x "
            f"epochs_per_evaluation 2), and each is made of whole iterations of 4 steps, here {iterations}"
        ]
    assert settings().remarks() == ()
    assert load_expert_settings("TwoRoom", overrides={"steps": 2000}).trained_steps == 12_800


def test_rewards_that_are_always_0_are_refused(toy, capsys):
    said = "swm/TwoRoom-v1 gave the reward 0 in 160 steps of random actions, from which no expert learns anything; take"
    assert said in refused("TwoRoom", "--set=probe_steps=160", "--set=episode_steps=4")
    config = load_expert_settings("TwoRoom", overrides={"probe_steps": 160, "episode_steps": 4})
    with pytest.raises(UserError, match="or --set probe_steps=0 where rewards are only rare"):
        train_expert(config, Path())
    assert list(Path().iterdir()) == []
    check_reward(dataclasses.replace(config, probe_steps=0))
    check_reward(settings(probe_steps=1))
    assert "probe_steps must be an integer of at least 0, got -1" in refused(toy, "--set=probe_steps=-1")


KEPT = (
    r"error: interrupted: the state after ([\d,]+) of ([\d,]+) steps is kept in run; "
    r"go on with `swmjax train-expert --resume run`"
)


def test_ctrl_c_keeps_the_state_and_resume_goes_on(toy, monkeypatch):
    def written(*arguments):
        write_table(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("swmjax.training.progress.write_table", written)
        said = run(toy, "--output=run", code=130).stderr.strip()
    assert re.fullmatch(KEPT, said)[1] == "16"
    died = subprocess.Popen(["true"])
    died.wait()
    for name in (f".progress.{died.pid}.csv", f".learning_curve.{died.pid}.png", f".results.{died.pid}.json"):
        Path("run", name).touch()  # as a kill leaves them
    said = run(toy, "--output=run").stderr
    assert said.startswith("note: run holds this run, which was stopped; going on with it")
    assert [path.name for path in Path("run").iterdir() if path.name.startswith(".")] == []
    assert [row["steps"] for row in read_table(Path("run"), 10**9)] == [0, 32, 64, 96]
    assert RunFolder(Path("run")).complete


@pytest.mark.slow
def test_ctrl_c_stops_the_program(toy):
    code = "import goal_env\nwith goal_env.registered():\n    from swmjax.cli.app import main\n    main()"
    arguments = [toy, "--output=run", "--steps=40000", "--set=evaluations=5", "--set=epochs_per_evaluation=100"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train-expert", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    while not Path("run/progress.csv").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    kept = re.fullmatch(KEPT, said.splitlines()[-1])
    assert kept, said
    assert 0 < int(kept[1].replace(",", "")) < 40_000


def test_interrupted_before_there_is_a_state(toy, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Watched, "compile", stop)
    assert run(toy, "--output=run", code=130).stderr == "error: interrupted\n"
    assert not Path("run").exists()  # random actions are looked at before there is a folder
    said = "error: interrupted before the first state; begin again with `swmjax train-expert --resume run`"
    assert run(toy, "--set=probe_steps=0", "--output=run", code=130).stderr.strip() == said
    assert RunFolder(Path("run")).read_config()["steps"] == 96


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the id of an environment; `swmjax envs` lists them"),
        (["PushT-v2"], "unknown environment 'swm/PushT-v2'; did you mean 'swm/PushT-v1'"),
        (["swm/CartPoleControl-v1"], "CartPoleControl has the actions Discrete(2); an expert needs a Box"),
        (["test/Goal-v0", "--algorithm=dqn"], "unknown algorithm 'dqn'; "),
        (["test/Goal-v0", "--task=run"], "unknown argument of test/Goal-v0 'task'"),
        (["test/Goal-v0", "--set=algorithm.batchsize=3"], "did you mean 'batch_size'"),
        (["test/Goal-v0", "--set=env_options.gian=3"], "did you mean 'gain'"),
        (["test/Goal-v0", "--set=variation=[shape]"], "unknown factor"),
        (["test/Goal-v0", "--steps=0"], "steps must be an integer of at least 1, got 0"),
        (["--config=expert/walkr.yaml"], "no config file 'expert/walkr.yaml'; shipped presets: "),
        (["--resume=nowhere"], "nowhere/config.yaml is missing"),
        (["--resume=nowhere", "--steps=3"], "--resume takes its settings from the run folder"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    assert message in refused(*arguments)


def test_without_brax_the_extra_is_named(monkeypatch):
    from swmjax.training.experts.brax import brax_parts

    brax_parts.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "brax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "brax", None)
    line = refused("test/Goal-v0")
    assert line == "error: training needs brax, which is not installed: pip install 'swmjax[expert]'"


def test_output_is_never_overwritten(toy):
    Path("mine").mkdir()
    Path("mine/results.json").write_text("precious")
    assert "mine is not empty; give --output a new or an empty folder" in refused(toy, "--output=mine")


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_a_task_of_the_control_suite(algorithm):
    tiny = ["--set=algorithm.num_envs=8", "--set=algorithm.hidden=[16]", "--set=eval_episodes=2", "--set=evaluations=2"]
    run("CartpoleDMControl-v0", f"--algorithm={algorithm}", "--steps=600", "--output=run", *tiny)
    assert [row["length"] for row in read_table(Path("run"), 10**9)] == [500, 500, 500]
