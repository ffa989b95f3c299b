"""Record sampling solvers of the reference: every random draw, and every iteration of it.

Run it with a Python that has the reference (stable-worldmodel 0.1.1) installed:

    python tests/golden/make_solver_goldens.py tests/golden

Three problems, solved in batches of two and one. Draws come batch by batch, then step by step (`draw0`, `draw1`, ...);
what each iteration saw is stored as [problems, steps, ...].
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
from recorded_draws import recorded_draws
from stable_worldmodel.solver import CategoricalCEMSolver, CEMSolver, ICEMSolver, MPPISolver, PredictiveSamplingSolver
from stable_worldmodel.solver.callbacks import Callback

PROBLEMS, BATCH, HORIZON, BLOCK, ACTION, SAMPLES, STEPS = 3, 2, 5, 2, 2, 24, 4
LOW, HIGH = np.array([-0.7, -1.0], np.float32), np.array([0.5, 0.8], np.float32)
RUNS = {
    "cem_steps": (CEMSolver, "wavy", {"n_steps": STEPS, "topk": 5, "var_scale": 0.7}, True),
    "icem_steps": (ICEMSolver, "wavy", {"n_steps": STEPS, "topk": 5, "noise_beta": 1.5, "n_elite_keep": 3}, True),
    "icem_white": (
        ICEMSolver,
        "quad",
        {"n_steps": STEPS, "topk": 4, "noise_beta": 0.0, "alpha": 0.0, "n_elite_keep": 9, "var_scale": 0.5},
        False,
    ),
    "mppi_steps": (MPPISolver, "wavy", {"n_steps": STEPS, "topk": 8, "temperature": 2.0, "var_scale": 0.6}, True),
    "mppi_all": (MPPISolver, "quad", {"n_steps": STEPS, "topk": None, "temperature": 0.5}, False),
    "predictive_steps": (PredictiveSamplingSolver, "wavy", {"noise_scale": 0.4}, False),
    "categorical_steps": (CategoricalCEMSolver, "discrete", {"n_steps": STEPS, "topk": 5}, False),
    "categorical_smooth": (
        CategoricalCEMSolver,
        "discrete",
        {"n_steps": STEPS, "topk": 5, "smoothing": 0.05, "alpha": 0.3},
        False,
    ),
}
CATEGORIES = 3


class Costs:
    """The cost function, which remembers the costs that it gave."""

    def __init__(self, name):
        self.name, self.costs, self.first = name, [], []

    def get_cost(self, info, actions):
        data = info["problem"]
        if self.name == "discrete":
            costs = (actions * data).sum((2, 3))
        else:
            costs = (actions - data).square().sum((2, 3))
            if self.name == "wavy":
                costs = costs + 0.3 * torch.sin(5 * actions).sum((2, 3))
        self.costs.append(costs.numpy().copy())
        self.first.append(actions[:, 0].numpy().copy())
        return costs


class Iterations(Callback):
    """Everything about an iteration that the tests compare."""

    names = ("mean", "var", "probs", "topk_inds", "topk_vals")

    def compute(self, **state):
        return {name: state[name].numpy().copy() for name in self.names if name in state}


def record(name):
    solver_class, cost_name, options, warm = RUNS[name]
    random = np.random.default_rng(sorted(RUNS).index(name))
    discrete = cost_name == "discrete"
    width = BLOCK * (CATEGORIES if discrete else ACTION)
    problem = random.uniform(-0.8, 0.8, (PROBLEMS, HORIZON, width)).astype(np.float32)
    low, high = np.tile(LOW, (PROBLEMS, 1)), np.tile(HIGH, (PROBLEMS, 1))
    space = gym.spaces.Discrete(CATEGORIES) if discrete else gym.spaces.Box(low, high)
    costs, iterations = Costs(cost_name), Iterations()
    if solver_class not in (MPPISolver, PredictiveSamplingSolver):
        options = {**options, "callbacks": [iterations]}

    with recorded_draws() as draws:
        solver = solver_class(costs, batch_size=BATCH, num_samples=SAMPLES, seed=7, **options)
        solver.configure(
            action_space=space, n_envs=PROBLEMS, config=SimpleNamespace(horizon=HORIZON, action_block=BLOCK)
        )
        start = random.uniform(-0.9, 0.9, (PROBLEMS, 2, width)).astype(np.float32) if warm else None
        given = {"problem": torch.from_numpy(problem)}
        answer = solver.solve(given, init_action=None if start is None else torch.from_numpy(start.copy()))

    steps = options.get("n_steps", 1)
    arrays = {f"draw{index}": draw.numpy() for index, draw in enumerate(draws)}
    arrays |= {"in_problem": problem, "in_low": LOW, "in_high": HIGH}
    arrays |= {} if start is None else {"in_init_action": start}
    arrays |= {"out_actions": answer["actions"].numpy(), "out_costs": np.asarray(answer["costs"])}

    def joined(rows):
        batches = [np.stack(rows[first : first + steps], 1) for first in range(0, len(rows), steps)]
        return np.concatenate(batches)

    arrays["costs"] = joined(costs.costs)
    if not discrete:
        arrays["first"] = joined(costs.first)
    if iterations.history:
        rows = [row for batch in iterations.history for row in batch]
        arrays |= {key: joined([row[key] for row in rows]) for key in rows[0]}
    return arrays


def main(folder):
    for name in RUNS:
        np.savez_compressed(folder / f"solver_{name}.npz", **record(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
