"""`swmjax eval --problems`: recorded problems instead of drawn ones."""

import json

import numpy as np
from command_line import Command
from goal_env import registered, unchecked_types

SETTINGS = """
env: test/Goal-v0
model: oracle
env_options: {gain: 0.25}
episodes: 1
budget: 2
batch_size: 2
video_episodes: 0
plan: {horizon: 1, receding_horizon: 1, action_block: 1}
solver: {name: cem, num_samples: 8, n_steps: 1, topk: 2}
"""


COMMAND = Command("eval")


def test_all_recorded_problems_are_run(tmp_path):
    (tmp_path / "toy.yaml").write_text(SETTINGS)
    np.savez(tmp_path / "problems.npz", start=np.zeros((3, 1)), goal=np.array([[0.0], [5.0], [0.05]]))
    options = (f"--config={tmp_path / 'toy.yaml'}", f"--problems={tmp_path / 'problems.npz'}")
    with registered(), unchecked_types():
        result = COMMAND.run(*options, f"--output={tmp_path / 'run'}", "--json")
        too_many = COMMAND.run(*options, "--episodes=4", f"--output={tmp_path / 'other'}", code=2)
        missing = COMMAND.run(f"--config={tmp_path / 'toy.yaml'}", f"--problems={tmp_path / 'no.npz'}", code=2)
    results = json.loads(result.stdout)
    assert (results["episodes"], results["successes"]) == (3, 2)
    assert "problems.npz holds 3 problems, got 4" in too_many.stderr
    assert missing.stdout == ""
    assert "no.npz: No such file" in missing.stderr
