"""The dm_control side of envs.py: every task of the control suite in one process of C MuJoCo."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from dm_control import suite

sys.path[0] = str(Path(__file__).parents[1] / "tests")
from suite_fields import forget_removed_arrays  # noqa: E402

forget_removed_arrays()


def measure(env, settings: dict) -> dict[str, list[float]]:
    """Seconds of control steps, without resets."""
    generator, spec = np.random.default_rng(0), env.action_spec()
    steps = []
    for repeat in range(settings["repeats"] + 1):
        seconds = 0.0
        for _ in range(settings["episodes"]):
            env.reset()
            actions = generator.uniform(spec.minimum, spec.maximum, (settings["episode_steps"], *spec.shape))
            start = time.perf_counter()
            for action in actions:
                env.step(action)
            seconds += time.perf_counter() - start
        # The first round warms up.
        if repeat:
            steps.append(seconds)
    return {"steps": steps}


def main(folder: Path) -> None:
    """Time every task that was asked for."""
    settings = json.loads((folder / "settings.json").read_text())
    figures = {}
    for env_id, (domain, task) in settings["envs"].items():
        figures[env_id] = measure(suite.load(domain, task, task_kwargs={"random": 0}), settings)
    versions = ", ".join(f"{name} {version(name)}" for name in ("dm-control", "mujoco"))
    (folder / "result.json").write_text(json.dumps({"envs": figures, "versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
