"""`swmjax envs`, `fovs`, `solvers` and `checkpoints`."""

import json
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

import envs_mjx
from envs_mjx import registry
from swmjax import planning
from swmjax.cli import console
from swmjax.cli.app import app
from swmjax.planning import SOLVERS

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, list(arguments))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A $STABLEWM_HOME with one checkpoint at the root and one in a run folder."""
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    (tmp_path / "checkpoints" / "lewm-pusht").mkdir(parents=True)
    (tmp_path / "checkpoints" / "root.pt").write_bytes(b"0" * 2048)
    (tmp_path / "checkpoints" / "lewm-pusht" / "epoch_1.pt").write_bytes(b"0")
    return tmp_path / "checkpoints"


def test_envs_lists_every_id():
    result = run("envs")
    assert result.exit_code == 0
    assert all(id in result.stdout for id in envs_mjx.registered_ids())
    listed = json.loads(run("envs", "--json").stdout)
    assert sorted(row["id"] for row in listed) == list(envs_mjx.registered_ids())
    assert {"id": "swm/PushT-v1", "actions": "continuous", "extra": None} in listed
    assert {"id": "swm/CraftaxPixels-v1", "actions": "discrete", "extra": "craftax"} in listed


@pytest.mark.parametrize("name", ["PushT-v1", "swm/PushT-v1"])
def test_fovs_shows_bounds_and_defaults(name):
    result = run("fovs", name)
    assert result.exit_code == 0
    lines = {line.split()[1]: line for line in result.stdout.splitlines() if "." in line and "│" in line}
    assert len(lines) == 17
    assert "[20, 60]" in lines["block.scale"]
    assert "(119, 136, 153)" in lines["block.color"]
    assert "[1, 7]" in lines["block.shape"]
    assert "[-6.283, 6.283]" in lines["block.angle"]
    assert "block.angle *" in lines["block.angle"]


def test_fovs_as_json():
    factors = {row["factor"]: row for row in json.loads(run("fovs", "PushT-v1", "--json").stdout)}
    assert factors["agent.start_position"] == {
        "factor": "agent.start_position",
        "type": "Box",
        "low": [50.0, 50.0],
        "high": [450.0, 450.0],
        "shape": [2],
        "default": [256.0, 400.0],
        "sampled": True,
        "inert": False,
    }
    assert [name for name, row in factors.items() if row["inert"]] == ["goal.scale"]


def test_fovs_marks_factors_that_do_nothing():
    title, *lines = run("fovs", "TwoRoom").stdout.splitlines()
    assert "(* sampled by default, - does nothing" in title
    cells = [line.split("│")[1].split() for line in lines if "│" in line]
    assert [name for name, *marks in cells if "-" in marks] == ["wall.border_color", "task.min_steps"]
    assert [name for name, *marks in cells if "*" in marks] == ["agent.position", "target.position"]
    assert "does nothing" not in run("fovs", "SimplePointMaze").stdout


def test_fovs_without_an_id_says_what_is_missing_in_one_line():
    result = run("fovs")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: give the id of an environment, such as swm/PushT-v1; `swmjax envs` lists them\n"


def test_names_are_whole_in_a_narrow_terminal(monkeypatch):
    monkeypatch.setattr(console, "out", lambda: Console(width=60))
    ids = run("envs").stdout
    assert set(envs_mjx.registered_ids()) <= set(ids.split())
    factors = run("fovs", "SimplePointMaze").stdout
    assert set(envs_mjx.make("SimplePointMaze").variation_space.names()) <= set(factors.split())
    solvers = run("solvers").stdout
    assert {*SOLVERS, *(solver.__name__ for solver in SOLVERS.values())} <= set(re.findall(r"\w+", solvers))
    assert max(map(len, (ids + factors + solvers).splitlines())) <= 60


def test_tables_fold_between_words_and_cut_nothing(monkeypatch, capsys):
    long = "a-run-of-a-name-that-is-longer-than-any-terminal-is-wide/weights.pt"
    monkeypatch.setattr(console, "out", lambda: Console(width=24))
    console.print_table("", ("A", "B"), [("it works", "well, and for a long while")])
    shown = capsys.readouterr().out
    for row in (
        "│ it works │ well, and │",
        "│          │ for a     │",
        "│          │ long      │",
        "│          │ while     │",
    ):
        assert row in shown
    console.print_table("T", ("Run", "Size", "None"), [(long, "[1, 2]", "")])
    assert capsys.readouterr().out == f"T\n{long}\n  Size: [1, 2]\n"


def test_solvers_lists_every_solver():
    result = run("solvers")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in SOLVERS)
    listed = json.loads(run("solvers", "--json").stdout)
    assert [row["solver"] for row in listed] == list(SOLVERS)
    for row in listed:
        assert row["summary"]
        assert row["source"]
        assert getattr(planning, row["import"].split()[-1]).actions == row["actions"]


def test_fovs_of_an_unknown_environment():
    result = run("fovs", "PushT-v2")
    assert result.exit_code == 2
    assert result.stderr == "error: unknown environment 'swm/PushT-v2'; did you mean 'swm/PushT-v1'?\n"


@pytest.mark.usefixtures("home")
def test_checkpoints_lists_files():
    result = run("checkpoints")
    assert result.exit_code == 0
    assert "root.pt" in result.stdout
    assert "2.0 KB" in result.stdout
    rows = json.loads(run("checkpoints", "--json").stdout)
    assert [(row["run"], row["file"], row["size"]) for row in rows] == [
        ("", "root.pt", 2048),
        ("lewm-pusht", "epoch_1.pt", 1),
    ]


@pytest.mark.usefixtures("home")
def test_checkpoints_filters_by_expression():
    rows = json.loads(run("checkpoints", "lewm.*", "--json").stdout)
    assert [row["file"] for row in rows] == ["epoch_1.pt"]
    result = run("checkpoints", "x[")
    assert result.exit_code == 2
    assert "regular expression" in result.stderr


def test_no_checkpoints_is_not_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    result = run("checkpoints", "lewm")
    assert result.exit_code == 0
    assert result.stdout.replace("\n", "") == f"No checkpoints matching 'lewm' in {tmp_path / 'checkpoints'}"
    assert json.loads(run("checkpoints", "--json").stdout) == []


@pytest.mark.parametrize("command", ["fovs", "eval"])
def test_an_environment_without_its_extra_is_one_line(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    entry = envs_mjx.Spec(id="test/Absent-v0", entry_point="no_such_module:Env", extra="mujoco")
    monkeypatch.setitem(registry._SPECS, entry.id, entry)
    result = run(command, entry.id)
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines() == [
        "error: test/Absent-v0 needs no_such_module, which is not installed: pip install 'swmjax[mujoco]'"
    ]
    assert list(tmp_path.iterdir()) == []
