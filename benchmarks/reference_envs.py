"""The reference's side of envs.py: PushT in one process; runs in the reference's virtual environment."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from stable_worldmodel.envs.pusht.env import PushT


def main(folder: Path) -> None:
    """Time control steps and frames of the bare environment, without Gymnasium's wrappers and without resets."""
    settings = json.loads((folder / "settings.json").read_text())
    env, rng = PushT(resolution=settings["resolution"]), np.random.default_rng(0)
    steps, frames = [], []
    for repeat in range(settings["repeats"] + 1):
        seconds = 0.0
        for episode in range(settings["episodes"]):
            env.reset(seed=1000 * repeat + episode)
            actions = rng.uniform(-1, 1, (settings["episode_steps"], 2)).astype(np.float32)
            start = time.perf_counter()
            for action in actions:
                env.step(action)
            seconds += time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(settings["frames"]):
            env.render()
        # The first round warms up.
        if repeat:
            steps.append(seconds)
            frames.append(time.perf_counter() - start)
    versions = ", ".join(f"{name} {version(name)}" for name in ("stable-worldmodel", "pymunk", "pygame"))
    (folder / "result.json").write_text(json.dumps({"steps": steps, "frames": frames, "versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
