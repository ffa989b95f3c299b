"""Make what users of release 0.1.0 have on their disks: folder `old_runs`, which every later release must still use.

Run with the code of commit 7b825ac, whose names it uses: `PYTHONPATH=<checkout> python tests/golden/make_old_runs.py`.
A folder that exists is left as it is. Every command runs inside the folder, so that settings hold relative paths, as
users' do who stay in one place. What was interrupted was interrupted by Ctrl-C.
"""

import contextlib
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from swmjax.cli.app import app
from swmjax.training import progress
from swmjax.world import RunFolder

HERE = Path(__file__).parent
FOLDER = HERE / "old_runs"

PHYSICS = (
    "eval TwoRoom-v1 --episodes 5 --seed 7 --budget 12 --horizon 4 --receding-horizon 2 --action-block 2 --no-video "
    "--set goal_offset=24 --set batch_size=2 --set solver.num_samples=24 --set solver.n_steps=2 --set solver.topk=6"
).split()

MODEL_YAML = """\
# Written by hand, beside the files that it names.
env: TwoRoom-v1
env_options:
  render_target: true
model: ./checkpoints/lewm-mini
action_stats: action_stats.json
problems: problems.npz
episodes: 4
seed: 3
goal_offset: 25
budget: 10
batch_size: 2
problems_at_once: 2
video_episodes: 0
plan: {horizon: 2, receding_horizon: 1, action_block: 5, warm_start: true}
solver: {name: cem, num_samples: 16, n_steps: 2, topk: 4, var_scale: 1.0, clip: none}
"""

TRAINING = (
    "train-expert PendulumControl-v1 --steps 64 --seed 6 --set evaluations=2 --set epochs_per_evaluation=2 "
    "--set eval_episodes=4 --set episode_steps=10"
).split()
ALGORITHMS = {
    "sac": (
        "--algorithm sac --set algorithm.num_envs=2 --set algorithm.hidden=[8] --set algorithm.updates=2 "
        "--set algorithm.batch_size=8 --set algorithm.warmup_steps=8 --set algorithm.buffer_size=64"
    ).split(),
    "ppo": (
        "--algorithm ppo --set algorithm.num_envs=4 --set algorithm.hidden=[8] --set algorithm.value_hidden=[8] "
        "--set algorithm.unroll=4 --set algorithm.minibatches=2 --set algorithm.passes=2"
    ).split(),
}

COLLECTION = (
    "collect PendulumControl-v1 --policy sac_finished --output expert.lance --episodes 3 --max-steps 4 --seed 11 "
    "--image-size 16 --variation physics.m --variation visuals.rod"
).split()


def run(*arguments: object, code: int = 0) -> None:
    """A call of the command line that ends with an exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output


@contextlib.contextmanager
def ctrl_c_after(owner: object, name: str, calls: int):
    """The user presses Ctrl-C as soon as a function has returned that often."""
    function, done = getattr(owner, name), []

    def watched(*arguments):
        function(*arguments)
        done.append(arguments)
        if len(done) == calls:
            signal.raise_signal(signal.SIGINT)

    setattr(owner, name, watched)
    yield
    setattr(owner, name, function)


def evaluations() -> None:
    """Runs of the physics and of a checkpoint: finished ones, and those interrupted after the first batch."""
    run("import", HERE / "lewm_mini_hf4", "lewm-mini")
    Path("model.yaml").write_text(MODEL_YAML)
    Path("action_stats.json").write_text(json.dumps({"action_mean": [0.1, -0.05], "action_std": [0.5, 0.6]}))
    rng = np.random.default_rng(0)
    start = rng.uniform(40.0, 90.0, (4, 2)).astype(np.float32)
    np.savez("problems.npz", start=start, goal=start + rng.uniform(-25.0, 25.0, (4, 2)).astype(np.float32))
    for name, command in {"physics": PHYSICS, "model": ["eval", "--config", "model.yaml"]}.items():
        run(*command, "--output", f"{name}_finished")
        with ctrl_c_after(RunFolder, "write_episodes", 1):
            run(*command, "--output", f"{name}_interrupted", code=130)


def experts() -> None:
    """Trainings: finished ones, and those interrupted half way; a dataset of the finished SAC."""
    for name, options in ALGORITHMS.items():
        run(*TRAINING, *options, "--output", f"{name}_finished")
        with ctrl_c_after(progress, "write_table", 2):
            run(*TRAINING, *options, "--output", f"{name}_interrupted", code=130)
    run(*COLLECTION)


if __name__ == "__main__" and not FOLDER.exists():
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["STABLEWM_HOME"] = place
        evaluations()
        experts()
        shutil.copytree(place, FOLDER)
