"""`swmjax eval ID` without a preset of its own: one environment of every family, shortened."""

import json
from pathlib import Path

import pytest
from command_line import Command
from goal_env import unchecked_types

from swmjax.world.rows import EPISODES

pytestmark = pytest.mark.slow

SHORT = "--episodes=2 --budget=3 --horizon=2 --receding-horizon=1 --action-block=1 --set=solver.num_samples=16".split()
RETURN, SUCCESS = "mean_return", "success_rate"


@pytest.fixture(autouse=True)
def as_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unchecked_types():
        yield


@pytest.mark.parametrize(
    ("env", "figure"),
    [
        ("PushT-Discrete", SUCCESS),
        ("Piecewise", SUCCESS),
        ("SimplePointMaze", SUCCESS),
        ("VoidRun", SUCCESS),
        ("ImagePositioning", SUCCESS),
        ("CartPoleControl", RETURN),
        ("PendulumControl", RETURN),
        ("CartpoleDMControl", RETURN),
        ("brax/InvertedPendulum", RETURN),
        ("playground/PendulumSwingup", RETURN),
        ("CraftaxClassicSymbolic", RETURN),
    ],
)
def test_every_family(env, figure):
    # MuJoCo's pictures need OpenGL, which a machine for tests may lack.
    Command("eval").run(env, *SHORT, "--no-video", "--output=run")
    results = json.loads(Path("run/results.json").read_text())
    assert results["episodes"] == len(EPISODES.read(Path("run"))) == 2
    assert results[figure] is not None
    assert (results["protocol"] == "episodic") == (figure == RETURN)
    assert any("impl=auto took c" in note for note in results["notes"]) == ("DMControl" in env)
    assert results["plans"] > 0
    assert results["failed_plans"] == 0
