"""The reference's side of solvers.py; runs in the reference's virtual environment, started by solvers.py.

Reads `config.json`, `inputs.npz` and `settings.json` in the folder that is its argument; writes `weights.pt` and
`result.json` there.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import stable_worldmodel.solver as solvers
import torch
from common import time_calls
from gymnasium.spaces import Box, Discrete
from reference_planning import build, fill
from stable_worldmodel.policy import PlanConfig


class Physics:
    """Cost of candidates by stepping the environment, one candidate after the other."""

    def __init__(self, start: list[float], goal: list[float]) -> None:
        from stable_worldmodel.envs.pusht.env import PushT

        self.env, self.start, self.goal = PushT(), np.asarray(start), np.asarray(goal)
        self.env.reset(seed=0)

    def get_cost(self, info: dict, candidates: torch.Tensor) -> torch.Tensor:
        """Distance of the last state from the goal, (B, S)."""
        costs = torch.zeros(candidates.shape[:2])
        for row in np.ndindex(*candidates.shape[:2]):
            self.env._set_state(self.start)
            for action in candidates[row].reshape(-1, 2).numpy():
                state = self.env.step(action)[0]["state"]
            costs[row] = float(np.linalg.norm(self.goal[:4] - state[:4]))
        return costs


def configured(name: str, options: dict, model, settings: dict, problems: int, action_dim: int):
    """A solver that is ready to solve."""
    cls = getattr(solvers, name)
    names = {"n_inner_steps": "n_steps"}
    solver = cls(model, **{names.get(field, field): value for field, value in options.items()})
    discrete = name in ("CategoricalCEMSolver", "PGDSolver")
    space = Discrete(2) if discrete else Box(-1.0, 1.0, (1, action_dim), np.float32)
    config = PlanConfig(settings["horizon"], settings["horizon"], action_block=settings["action_block"])
    solver.configure(action_space=space, n_envs=problems, config=config)
    return solver


def main(folder: Path) -> None:
    """Build, save, time."""
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    model = build(json.loads((folder / "config.json").read_text())).eval().requires_grad_(False)
    fill(model)
    torch.save(model.state_dict(), folder / "weights.pt")
    inputs = {name: torch.from_numpy(array) for name, array in np.load(folder / "inputs.npz").items()}
    width = inputs["noise"].shape[-1]

    def frames(problems: int) -> dict:
        """Observations of equal problems; solvers change what they get."""
        pixels, goal = (inputs[name].expand(problems, *inputs[name].shape[1:]) for name in ("pixels", "goal"))
        return {"pixels": pixels.clone(), "goal": goal.clone(), "action": torch.zeros(problems, 1, width)}

    def timed(call, repeats: int) -> list[float]:
        call()
        return list(time_calls(call, repeats).seconds)

    seconds, size = {}, width // settings["action_block"]
    for name, options in settings["latent"].items():
        solver = configured(settings["classes"][name], options, model, settings, 1, size)
        seconds[f"LeWM {name}"] = timed(lambda solver=solver: solver.solve(frames(1)), settings["repeats"])
    for name, options in settings["physical"].items():
        physics = Physics(settings["start"], settings["goal"])
        solver = configured(settings["classes"][name], options, physics, settings, 1, 2)
        state = {"state": torch.zeros(1, 1, 7)}
        seconds[f"PushT physics {name}"] = timed(
            lambda solver=solver, state=state: solver.solve(dict(state)), settings["repeats"]
        )
    result = {"seconds": seconds}
    if settings["problems"]:
        solver = configured(
            "CEMSolver",
            settings["problems_solver"],
            model,
            settings,
            settings["problems"],
            width // settings["action_block"],
        )
        result["problems"] = timed(lambda: solver.solve(frames(settings["problems"])), min(settings["repeats"], 3))
    packages = ("torch", "transformers", "stable-worldmodel")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    versions += f"; float32 on cpu, {torch.get_num_threads()} threads"
    (folder / "result.json").write_text(json.dumps(result | {"versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
