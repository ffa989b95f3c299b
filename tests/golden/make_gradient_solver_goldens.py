"""Records runs of the reference's gradient solvers, every iteration of them.

Run with a Python that has torch and stable-worldmodel 0.1.1; the tests need neither. Every random draw is kept in order
(draw0, draw1, ...), and what the solver hands to the cost function at every call: `params` [calls, B, S, H, A], with
its `costs` and their gradients `grads`. The release selects among samples by costs from before the last update, which
later versions do not, so `final` holds all samples after it.
"""

from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
from stable_worldmodel.solver.gd import GradientSolver
from stable_worldmodel.solver.lagrangian import LagrangianSolver
from stable_worldmodel.solver.pgd import PGDSolver

HERE = Path(__file__).parent
PROBLEMS, HORIZON, BLOCK = 2, 4, 2
CONFIG = SimpleNamespace(horizon=HORIZON, action_block=BLOCK)
TARGET = torch.randn(PROBLEMS, HORIZON, 4, generator=torch.Generator().manual_seed(3)) * 0.8


def quad(target, actions):
    return (actions - target).square().sum((2, 3))


def wavy(target, actions):
    return quad(target, actions) + 0.3 * torch.sin(5 * actions).sum((2, 3))


def bowl(target, actions):
    return (actions * target).sum((2, 3)) + 0.5 * actions.pow(3).sum((2, 3))


def constraints(actions):
    return torch.stack([actions.sum((2, 3)) - 1, actions.square().sum((2, 3)) - 6], -1)


class Model:
    """A cost function that remembers what it was asked."""

    def __init__(self, cost):
        self.cost, self.params, self.costs, self.grads = cost, [], [], []

    def get_cost(self, info, candidates):
        costs = self.cost(info["target"], candidates)
        self.params.append(candidates.detach().clone())
        self.costs.append(costs.detach().clone())
        if candidates.requires_grad:
            self.grads += torch.autograd.grad(costs.sum(), candidates, retain_graph=True)
        return costs


class ConstrainedModel(Model):
    def get_constraints(self, info, candidates):
        return constraints(candidates)


def record(solver, model, space, target, solves=1, **options):
    """Outputs of one or more solves, with draws and calls."""
    draws, original = [], torch.randn

    def recorded(*args, **kwargs):
        drawn = original(*args, **kwargs)
        draws.append(drawn.clone())
        return drawn

    solver.configure(action_space=space, n_envs=PROBLEMS, config=CONFIG)
    found = {"in_target": target}
    torch.randn = recorded
    try:
        for number in range(solves):
            outputs = solver.solve({"target": target}, **options)
            found[f"final{number}"] = solver.init.detach().clone()
            found[f"actions{number}"] = outputs["actions"]
            if outputs.get("lambdas") is not None:
                found[f"lambdas{number}"] = outputs["lambdas"].clone()
    finally:
        torch.randn = original
    found["params"] = torch.stack(model.params)
    found["costs"] = torch.stack(model.costs)
    found["grads"] = torch.stack(model.grads)
    found |= {f"draw{index}": drawn for index, drawn in enumerate(draws)}
    return found | {f"in_{name}": value for name, value in options.items() if torch.is_tensor(value)}


def save(name, found):
    np.savez_compressed(HERE / f"{name}.npz", **{key: value.numpy() for key, value in found.items()})


def main():
    box = gym.spaces.Box(-1, 1, (PROBLEMS, 2), np.float32)
    generator = torch.Generator().manual_seed(5)
    warm_start = torch.randn(PROBLEMS, 2, 4, generator=generator) * 0.5

    model = Model(wavy)
    solver = GradientSolver(
        model, n_steps=6, num_samples=3, var_scale=0.5, action_noise=0.02, batch_size=1, grad_clip=2.0,
        optimizer_cls=torch.optim.AdamW, optimizer_kwargs={"lr": 0.1},
    )  # fmt: skip
    save("gradient_adamw_clip", record(solver, model, box, TARGET, init_action=warm_start))

    optimizers = {
        "momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
        "nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        "adam": (torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.9)}),
        "adamax": (torch.optim.Adamax, {"lr": 0.1}),
        "rmsprop": (torch.optim.RMSprop, {"lr": 0.05}),
    }
    params = {"in_target": TARGET}
    for name, (cls, kwargs) in optimizers.items():
        model = Model(wavy)
        solver = GradientSolver(model, n_steps=8, optimizer_cls=cls, optimizer_kwargs=kwargs)
        params[name] = torch.cat([record(solver, model, box, TARGET)["params"], solver.init.detach()[None]])
    save("gradient_optimizers", params)

    weights = torch.randn(PROBLEMS, HORIZON, 6, generator=generator) * 0.4
    model = Model(bowl)
    solver = PGDSolver(model, n_steps=6, num_samples=3, var_scale=0.5, action_noise=0.1)
    indices = torch.tensor([[[2, 0], [1, 1]], [[0, 2], [2, 1]]])
    found = record(solver, model, gym.spaces.Discrete(3), weights, init_action=indices, from_scalar=True)
    save("pgd_one_hot", found)

    model = ConstrainedModel(wavy)
    solver = LagrangianSolver(
        model, n_steps=3, n_outer_steps=3, num_samples=2, var_scale=0.5, action_noise=0.05, rho_init=0.5, rho_max=1.5,
        rho_scale=2.0, optimizer_kwargs={"lr": 0.05},
    )  # fmt: skip
    save("lagrangian_persist", record(solver, model, box, TARGET + 0.5, solves=2))


if __name__ == "__main__":
    main()
