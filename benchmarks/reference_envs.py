"""The reference's side of envs.py: every environment in one process; runs in the reference's virtual environment."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import gymnasium

GYMNASIUM = {
    "swm/CartPoleControl-v1": "CartPole-v1",
    "swm/MountainCarControl-v0": "MountainCar-v0",
    "swm/MountainCarContinuousControl-v0": "MountainCarContinuous-v0",
    "swm/AcrobotControl-v1": "Acrobot-v1",
    "swm/PendulumControl-v1": "Pendulum-v1",
}
"""Environments that the reference only wraps; measured without the wrapper."""


def make(env_id: str):
    """The bare environment, or None for one that this release does not have."""
    import stable_worldmodel  # noqa: F401

    name = GYMNASIUM.get(env_id, env_id)
    if name not in gymnasium.registry:
        return None
    return gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True).unwrapped


def measure(env, settings: dict) -> dict[str, list[float]]:
    """Seconds of control steps and of frames, without wrappers and without resets."""
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    env.action_space.seed(0)
    steps, frames = [], []
    for repeat in range(settings["repeats"] + 1):
        seconds = 0.0
        for episode in range(settings["episodes"]):
            env.reset(seed=1000 * repeat + episode)
            actions = [env.action_space.sample() for _ in range(settings["episode_steps"])]
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
    return {"steps": steps, "frames": frames}


def main(folder: Path) -> None:
    """Time every environment that was asked for."""
    settings = json.loads((folder / "settings.json").read_text())
    figures = {}
    for env_id in settings["envs"]:
        env = make(env_id)
        if env is not None:
            figures[env_id] = measure(env, settings)
    versions = ", ".join(f"{name} {version(name)}" for name in ("stable-worldmodel", "gymnasium", "pymunk", "pygame"))
    (folder / "result.json").write_text(json.dumps({"envs": figures, "versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
