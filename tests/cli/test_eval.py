"""`swmjax eval` as users run it: results, run folders, interruptions, and one readable line for every mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import Command
from goal_env import GoalEnv, registered, unchecked_types

from swmjax import world
from swmjax.runs.table import Table
from swmjax.world import RunFolder
from swmjax.world.rows import EPISODES, episodes_table

GOLDEN = Path(__file__).parents[1] / "golden"
MINI = GOLDEN / "lewm_mini_hf4"
SETTINGS = """
env: test/Goal-v0
model: oracle
env_options: {gain: 0.25}
episodes: 5
seed: 40
goal_offset: 20
budget: 4
batch_size: 2
video_episodes: 0
plan: {horizon: 2, receding_horizon: 1, action_block: 2}
solver: {name: cem, num_samples: 16, n_steps: 2, topk: 4}
"""
NOTE = "note: goals are 20 steps away, but an episode has only 4: few can be reached"
"""What is said of these settings."""
TINY = (
    "--episodes=2 --horizon=2 --receding-horizon=1 --budget=10 --set=goal_offset=5 "
    "--set=solver.num_samples=8 --set=solver.n_steps=2 --set=solver.topk=2"
).split()

COMMAND = Command("eval")
run, refused = COMMAND.run, COMMAND.refused


@pytest.fixture(autouse=True)
def as_users(tmp_path, monkeypatch):
    """An empty current folder, no checkpoints at home, and a toy environment."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    with registered(), unchecked_types():
        yield


@pytest.fixture
def toy(tmp_path):
    """The option that selects the settings of the toy runs."""
    path = tmp_path / "toy.yaml"
    path.write_text(SETTINGS)
    return f"--config={path}"


@pytest.fixture
def checkpoint(tmp_path):
    return shutil.copytree(MINI, tmp_path / "home" / "checkpoints" / "mini")


def only_run():
    (folder,) = Path("results").iterdir()
    return folder


def test_a_run_and_its_report(toy):
    result = run(toy, "--set", "video_episodes=1")
    folder = only_run()
    assert re.fullmatch(r"\d{8}-\d{6}-goal-v0-oracle-cem", folder.name)
    files = ["config.yaml", "episodes.mp4", "episodes.parquet", "results.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    results = json.loads((folder / "results.json").read_text())
    shown = " ".join(result.stdout.split())
    for text in (
        "test/Goal-v0, model oracle, solver cem",
        f"{results['success_rate']:.1%} ({results['successes']} of 5 episodes)",
        "95 % interval",
        "planning latency │ median",
        "compile time",
        "candidates scored",
        "environment steps",
        f"written to {folder}: {', '.join(files)}",
    ):
        assert text in shown
    assert result.stderr.strip() == NOTE
    assert len(EPISODES.read(folder)) == 5


def test_what_the_environment_says_of_itself_is_kept(toy, monkeypatch):
    monkeypatch.setattr(GoalEnv, "remarks", ("made of toys",))
    result = run(toy, "--episodes=1")
    assert (only_run() / "config.yaml").read_text().startswith("# made of toys\nformat: ")
    assert "made of toys" in json.loads((only_run() / "results.json").read_text())["notes"]
    assert "note: made of toys" in " ".join(result.stderr.split())
    assert "environment │ made of toys" in " ".join(result.stdout.split())


def test_the_config_of_a_run_runs_it_again(toy):
    run(toy, "--seed=3", "--episodes=2", "--set=solver.num_samples=12", "--output=one")
    run("--config=one/config.yaml", "--output", "deep/two")
    assert RunFolder(Path("one")).read_config() == RunFolder(Path("deep/two")).read_config()
    rows = EPISODES.read(Path("one"))
    assert rows == EPISODES.read(Path("deep/two"))
    assert [row["seed"] for row in rows] == [3, 4]
    assert not Path("results").exists()


def test_recorded_problems(toy, tmp_path):
    recorded = tmp_path / "problems.npz"
    start, goal = np.linspace(0.0, 0.75, 4)[:, None], np.linspace(2.0, 1.25, 4)[:, None]
    np.savez(recorded, start=start, goal=goal, comment="others are ignored")
    run(toy, f"--problems={recorded}", "--output=all")
    rows = EPISODES.read(Path("all"))
    assert [row["start"] for row in rows] == start.tolist()
    assert [row["goal"] for row in rows] == goal.tolist()
    assert rows[3]["final_distance"] < 0.5
    run(toy, f"--problems={recorded}", "--episodes=3", "--output=three", "--set=batch_size=3")
    assert EPISODES.read(Path("three")) == rows[:3]
    assert "problems.npz holds 4 problems, got 5" in refused(toy, f"--problems={recorded}", "--episodes=5")
    assert "its states have 1 entries, those of swm/PushT-v1 have 7" in refused(f"--problems={recorded}")


def test_json_is_all_there_is_on_stdout(toy):
    Path("empty").mkdir()
    result = run(toy, "--episodes=1", "--json", "--output=empty", "--no-video")
    printed = json.loads(result.stdout)
    assert printed == json.loads(Path("empty/results.json").read_text()) | {"folder": "empty"}
    assert (printed["episodes"], printed["complete"]) == (1, True)


def test_interrupted_and_resumed(toy, monkeypatch):
    original, calls = Table.write, []

    def write(self, run, rows):
        calls.append(len(rows))
        if calls == [2, 4]:
            raise KeyboardInterrupt
        original(self, run, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", write)
        result = run(toy, "--json", code=130)
    assert result.stdout == ""
    folder = only_run()
    assert result.stderr.strip() == (
        f"{NOTE}\nerror: interrupted: 4 of 5 episodes are kept in {folder}; finish with `swmjax eval --resume {folder}`"
    )
    assert len(EPISODES.read(folder)) == 4
    assert json.loads((folder / "results.json").read_text())["complete"] is False
    config = (folder / "config.yaml").read_bytes()

    for settings in (["--seed=40"], ["test/Goal-v0"], [toy], ["--output=new"], ["--set=seed=40"], ["--no-video"]):
        assert "--resume takes its settings from the run folder" in refused("--resume", folder, *settings)
    finished = json.loads(run("--resume", folder, "--json").stdout)
    assert (finished["episodes"], finished["complete"], finished["folder"]) == (5, True, str(folder))
    assert (folder / "config.yaml").read_bytes() == config

    run(toy, "--output=whole")
    assert EPISODES.read(folder) == EPISODES.read(Path("whole"))
    whole = json.loads(Path("whole/results.json").read_text())
    for name in ("success_rate", "success_interval_95", "mean_final_distance"):
        assert finished[name] == whole[name]
    results = (folder / "results.json").read_bytes()
    assert refused("--resume", folder) == f"error: {folder}: this run is complete, nothing is left to resume"
    assert (folder / "results.json").read_bytes() == results


PROGRAM = "from goal_env import registered\nfrom swmjax.cli.app import main\nwith registered():\n    main()"
DEAF = """
import pathlib
import threading
import time
from jax.stages import Lowered

compile = Lowered.compile

def deaf(self):
    open("compiling", "w").close()
    {call}

Lowered.compile = deaf
"""


def started(code, *arguments):
    """`swmjax eval` as a process."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", code, "eval", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for(path, process):
    while not Path(path).exists() and process.poll() is None:
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c(toy):
    arguments = [toy, "--output=run", "--set=batch_size=1", "--set=solver.n_steps=20000", "--episodes=40"]
    process = started(PROGRAM, *arguments)
    wait_for("run/episodes.parquet", process)
    process.send_signal(signal.SIGINT)
    *_, said = process.communicate()[1].splitlines()
    kept = len(EPISODES.read(Path("run")))
    assert 0 < kept < 40
    assert process.returncode == 130
    assert said == f"error: interrupted: {kept} of 40 episodes are kept in run; finish with `swmjax eval --resume run`"


def test_ctrl_c_while_xla_compiles(toy):
    """The first one is answered at once and the program awaited, the second one does not wait for it."""
    asked = "note: stopping when the compiling ends; again to stop now\n"
    ended = "error: interrupted: 0 of 5 episodes are kept in run; finish with `swmjax eval --resume run`\n"
    waiting = "while not pathlib.Path('go_on').exists(): time.sleep(0.05)"
    process = started(
        DEAF.format(call=f"{waiting}\n    return compile(self)") + PROGRAM, toy, "--set=goal_offset=4", "--output=run"
    )
    wait_for("compiling", process)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == asked
    Path("go_on").touch()
    assert process.communicate()[1] == ended
    assert process.returncode == 130
    Path("compiling").unlink()

    process = started(DEAF.format(call="threading.Event().wait()") + PROGRAM, "--resume=run")
    wait_for("compiling", process)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == asked
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ended
    assert process.returncode == 130


def test_interrupted_before_there_is_a_run(monkeypatch):
    def stop(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("swmjax.world.set_up", stop)
    assert run(code=130).stderr == "error: interrupted\n"
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PushT-v2"], "unknown environment 'swm/PushT-v2'; did you mean 'swm/PushT-v1'?"),
        (["swm/PuchTt-v1"], "unknown environment 'swm/PuchTt-v1'; did you mean 'swm/PushT-v1'?"),
        (["--solver=cen"], "unknown solver 'cen'; did you mean 'cem'?"),
        (["--solver=newton"], "unknown solver 'newton'; known: "),
        (["--set=solver.sample=3"], "solver 'cem' has no option 'sample'; did you mean 'num_samples'"),
        (["--set=episode=3"], "unknown setting 'episode'; did you mean 'episodes'"),
        (["--set=env_options.size=64"], "unknown argument of swm/PushT-v1 'size'; "),
        (["--set", "nonsense"], "--set 'nonsense' must read NAME=VALUE"),
        (["--set", "seed=[1"], "--set 'seed=[1': '[1' is not a value in YAML"),
        (["--set", "seed=soon"], "seed must be an integer of at least 0, got 'soon'"),
        (["--episodes=0"], "episodes must be an integer of at least 1, got 0"),
        (["--budget=20"], "must not be above the budget of 20 steps"),
        (["--horizon=2"], "plan.receding_horizon (5) must not be above plan.horizon (2)"),
        (["--config=eval/push.yaml"], "no config file 'eval/push.yaml'; shipped presets: "),
        (["--resume=nowhere"], "nowhere/config.yaml is missing"),
        (["--model=nowhere"], "home/checkpoints/nowhere: no such folder"),
        (["--model=./nowhere"], "nowhere: no such folder"),
        (["--model=some/one"], "some/one: is not on this machine, and HF_HUB_OFFLINE forbids to download it"),
        ([f"--model={MINI}", "--action-block=3"], "takes planner actions of size 10, but blocks of 3 actions"),
        ([f"--model={MINI}", "--action-stats=none.json"], "none.json: No such file or directory; expected JSON"),
    ],
)
def test_mistakes_are_one_line(arguments, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert message in refused(*arguments)


@pytest.mark.parametrize("arguments", [["--episdes=3"], ["--episodes=few"], ["PushT-v1", "more"]])
def test_usage_errors(arguments):
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert list(Path.cwd().iterdir()) == []


def test_any_environment_can_be_evaluated(monkeypatch):
    settings = world.load_settings("test/Goal-v0")
    assert (settings.protocol_name, settings.episodes, settings.solver["name"]) == ("drawn", 20, "cem")

    # One that only has rewards: whole episodes, and what they return.
    monkeypatch.setattr(GoalEnv, "has_success", False)
    small = ["--no-video", "--budget=25", "--set=solver.num_samples=4", "--episodes=2", "--output=rewards"]
    result = run("test/Goal-v0", *small)
    results = json.loads(Path("rewards/results.json").read_text())
    assert (results["protocol"], results["success_rate"], results["mean_final_distance"]) == ("episodic", None, None)
    rows = EPISODES.read(Path("rewards"))
    low, high = results["return_interval_95"]
    assert low < results["mean_return"] == np.mean([row["return"] for row in rows]) < high
    shown = " ".join(result.stdout.split())
    assert f"mean return │ {results['mean_return']:.4g} (95 % interval {low:.4g} to {high:.4g})" in shown
    assert "success" not in shown
    assert [row["success"] for row in rows] == [None, None]

    monkeypatch.setattr(GoalEnv, "_advance", lambda self, state, action: state.replace(step=state.step + 1))
    # Another gain, since a program of this environment is there already.
    result = run("test/Goal-v0", *small[:-1], "--set=env_options.gain=0.375", "--output=nothing")
    assert "every episode returned 0: plans, which look 20 steps ahead, came upon no reward" in result.stderr
    assert "2 of 2 episodes were cut by the budget of 25 steps" in result.stderr


def test_a_model_that_cannot_plan_says_so(toy):
    """Whatever is not finite about it: here its physics."""
    result = run(toy, "--set=env_options.gain=.nan", "--output=run", "--episodes=3", code=1)
    rows = EPISODES.read(Path("run"))
    assert [(row["plans"], row["failed_plans"]) for row in rows] == [(2, 2)] * 3
    assert "error: all 6 plans failed, so these figures say nothing of oracle" in " ".join(result.stderr.split())
    results = json.loads(Path("run/results.json").read_text())
    assert results["failed_plans"] == results["plans"] == 6
    assert any("6 of 6 plans failed" in note for note in results["notes"])


def test_what_has_no_effect_is_refused_or_said(toy, tmp_path, monkeypatch):
    recorded = tmp_path / "problems.npz"
    np.savez(recorded, start=np.zeros((2, 1)), goal=np.full((2, 1), 30.0))
    result = run(toy, f"--problems={recorded}", "--variation=start.x", "--output=run")
    said = " ".join(result.stderr.split())
    assert f"starts and goals are those of {recorded}: factors that would place them have no effect" in said
    assert "initial values" not in said
    assert "both say which episodes are played" in refused(
        toy, f"--problems={recorded}", "--set=protocol.name=episodic"
    )
    monkeypatch.setattr(GoalEnv, "has_success", False)
    assert "both say which episodes are played" in refused("test/Goal-v0", f"--problems={recorded}")
    assert "nothing is ever solved in test/Goal-v0" in refused("test/Goal-v0", "--skip-solved")


def test_values_of_factors_that_are_no_numbers(toy):
    for value in ("", "abc", "[1, [2, 3]]", ".nan"):
        assert "factor 'shade'" in refused(toy, f"--value=shade={value}")
    run(toy, "--value=start.x=0.25", "--episodes=1", "--output=run")
    (row,) = episodes_table(("start.x",)).read(Path("run"))
    assert row["start"] == row["variation.start.x"] == [0.25]


def test_problems_that_are_solved_at_the_start(toy, tmp_path):
    recorded = tmp_path / "problems.npz"
    np.savez(recorded, start=np.zeros((4, 1)), goal=np.asarray([[0.0], [0.0625], [30.0], [2.0]]))
    result = run(toy, f"--problems={recorded}", "--output=all")
    notes = " ".join(result.stderr.split())
    assert "2 of 4 problems are solved at the start and count as successes; --skip-solved leaves them out" in notes
    assert [row["solved_at_start"] for row in EPISODES.read(Path("all"))] == [True, True, False, False]
    result = run(toy, f"--problems={recorded}", "--skip-solved", "--output=some")
    results = json.loads(Path("some/results.json").read_text())
    assert (results["episodes"], results["counted"], results["success_rate"]) == (4, 2, 0.0)
    assert "0.0% (0 of 2 episodes)" in " ".join(result.stdout.split())
    assert "2 of 4 problems are solved at the start and are left out" in " ".join(result.stderr.split())
    result = run(toy, f"--problems={recorded}", "--episodes=2", "--skip-solved", "--output=none")
    assert "nothing is left to count" in result.stderr
    assert "success rate" not in result.stdout


def test_plans_and_goals_that_do_not_fit_the_protocol_are_said(toy):
    notes = " ".join(run(toy, "--set=goal_offset=3", "--output=near").stderr.split())
    assert "plans look 4 steps ahead, goals are 3 steps away" in notes
    notes = " ".join(run(toy, "--output=far").stderr.split())
    assert "goals are 20 steps away, but an episode has only 4" in notes
    (note,) = json.loads(Path("far/results.json").read_text())["notes"]
    assert note in notes


def test_factors_of_variation(toy):
    options = ["--variation=start.x", "--value=shade=0.25", "--episodes=3"]
    run(toy, *options, "--output=run")
    results = json.loads(Path("run/results.json").read_text())
    assert (results["variation"], results["values"]) == (["start.x"], {"shade": 0.25})
    config = RunFolder(Path("run")).read_config()
    assert (config["variation"], config["values"]) == (["start.x"], {"shade": 0.25})
    rows = episodes_table(("start.x", "shade")).read(Path("run"))
    assert [row["variation.start.x"] for row in rows] == [row["start"] for row in rows]
    assert [row["variation.shade"] for row in rows] == [[0.25]] * 3

    # What is not named keeps its initial value, and the user is told.
    result = run(toy, "--variation=shade", "--episodes=3", "--output=other")
    assert "only the factors that are named vary; start.x keep their initial values" in result.stderr
    rows = episodes_table(("shade",)).read(Path("other"))
    assert [row["start"] for row in rows] == [[0.5]] * 3
    assert len({row["variation.shade"][0] for row in rows}) == 3
    run("--config=other/config.yaml", "--output=again")
    assert episodes_table(("shade",)).read(Path("again")) == rows

    assert "unknown factor of variation 'shadow'; did you mean 'shade'?" in refused(toy, "--variation=shadow")
    assert "shade" in refused(toy, "--value=shade=7")
    assert "--value 'shade' must read NAME=VALUE" in refused(toy, "--value=shade")


def test_output_is_never_overwritten(toy):
    Path("mine").mkdir()
    Path("mine/results.json").write_text("precious")
    Path("file").write_text("precious")
    assert "mine is not empty; give --output a new or an empty folder" in refused(toy, "--output=mine")
    assert "file is a file; give --output a new or an empty folder" in refused(toy, "--output=file")
    refused(toy, "--output=file/below")
    assert [Path("mine/results.json").read_text(), Path("file").read_text()] == ["precious", "precious"]


def test_damaged_runs_are_not_resumed(toy):
    for name, content, message in (
        ("config.yaml", "seed: [1", "config.yaml: "),
        ("config.yaml", "seed: 1\n", "setting 'env' is missing"),
        ("episodes.parquet", "PAR1", "episodes.parquet: "),
    ):
        folder = Path(f"run-{len(list(Path.cwd().iterdir()))}")
        folder.mkdir()
        (folder / "config.yaml").write_text(SETTINGS)
        (folder / name).write_text(content)
        assert message in refused("--resume", folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "mini: no such folder"),
        (lambda folder: shutil.copy(folder / "weights.pt", folder / "last.pt"), "2 .pt files in it (last.pt, wei"),
        (lambda folder: (folder / "weights.pt").unlink(), "mini: no .pt file in it; allowed is exactly one"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: no such file; weights.pt needs"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: is not JSON"),
        (lambda folder: (folder / "weights.pt").write_bytes(b"PK\3\4"), "weights.pt: "),
        (lambda folder: (folder / "action_stats.json").write_text("{}"), "action_stats.json: expected JSON"),
    ],
)
def test_damaged_checkpoints(checkpoint, damage, message):
    damage(checkpoint)
    assert message in refused("--model=mini")


@pytest.mark.parametrize(
    ("part", "name", "value", "messages"),
    [
        ("encoder", "_target_", "vit", ["config.json: encoder._target_: 'vit' is not known; allowed are "]),
        ("action_encoder", "emb_dim", 16, ["config.json: ", "action_encoder.emb_dim must be 32"]),
        ("action_encoder", "input_dim", 4, ["patch_embed.weight: expected shape (10, 4, 1), found (10, 10, 1)"]),
        ("encoder", "num_hidden_layers", 3, [".layer.2.layernorm_after.bias: is missing; expected shape (32,)"]),
        ("predictor", "depth", 1, ["layers.1.attn.to_qkv.weight: is not a tensor of this model; found shape (96, 32)"]),
    ],
)
def test_checkpoints_that_do_not_fit_their_config(checkpoint, part, name, value, messages):
    config = json.loads((checkpoint / "config.json").read_text())
    config[part][name] = value
    (checkpoint / "config.json").write_text(json.dumps(config))
    result = run("--model=mini", code=2)
    assert result.stdout == ""
    assert list(Path.cwd().iterdir()) == []
    first, *others = result.stderr.splitlines()
    lines = [first.removeprefix("error: "), *others]
    assert first != lines[0]
    assert all(line.startswith(f"{checkpoint}{os.sep}") for line in lines)
    for message in messages:
        assert any(message in line for line in lines)


def test_a_checkpoint_plans_from_frames(toy, checkpoint):
    (checkpoint / "action_stats.json").write_text('{"action_mean": [0.1], "action_std": [0.5]}')
    arguments = [toy, "--model=mini", "--action-block=10", "--budget=20", "--episodes=2"]
    result = run(*arguments, "--output=one")
    assert "model mini" in result.stdout
    assert result.stderr.strip() == ""
    run(*arguments, "--output=two", "--set=batch_size=1")
    assert EPISODES.read(Path("one")) == EPISODES.read(Path("two"))


def check_pusht_rows(folder, budget=10):
    rows = EPISODES.read(folder)
    assert [row["seed"] for row in rows] == [42, 43]
    for row in rows:
        assert (len(row["start"]), len(row["goal"])) == (7, 7)
        assert row["start"] != row["goal"]
        assert np.isfinite(row["final_distance"])
        assert row["steps"] == budget or row["success"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lewm_mini_hf4", "lewm_mini_hf5"])
def test_pusht_from_a_reference_checkpoint(name):
    result = run("swm/PushT-v1", f"--model={GOLDEN / name}", *TINY, "--no-video", "--output=run")
    check_pusht_rows(Path("run"))
    assert result.stderr.startswith("note: no action_stats.json beside the checkpoint: ")
    assert RunFolder(Path("run")).read_config()["model"] == str(GOLDEN / name)
    assert not Path("run/episodes.mp4").exists()


@pytest.mark.slow
def test_pusht_through_its_own_physics():
    arguments = [*TINY, "--budget=15", "--set=solver.num_samples=32"]
    run(*arguments, "--output=run")
    check_pusht_rows(Path("run"), budget=15)
    assert Path("run/episodes.mp4").stat().st_size > 1000
    run(*arguments, "--output=one-by-one", "--set=batch_size=1", "--no-video")
    assert EPISODES.read(Path("run")) == EPISODES.read(Path("one-by-one"))
