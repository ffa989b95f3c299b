"""Record solvers of the reference that plan in the small golden LeWM: every random draw, every iteration's costs.

Run it with a Python that has torch, transformers 5 and stable-worldmodel 0.1.1 installed:

    python tests/golden/make_lewm_solver_goldens.py

One problem, that of `lewm_mini_hf5_io.npz`. Gradients are recorded with `first`, the candidates of every call.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
from recorded_draws import recorded_draws
from stable_worldmodel import solver as solvers
from stable_worldmodel.wm.lewm import LeWM, module
from transformers import ViTConfig, ViTModel

HERE = Path(__file__).parent
MODEL, HORIZON, BLOCK, STEPS = "lewm_mini_hf5", 5, 5, 3
POPULATION = {"num_samples": 16, "n_steps": STEPS, "topk": 4}
STARTS = {"num_samples": 3, "n_steps": STEPS, "var_scale": 0.5}
RUNS = {
    "icem": ("ICEMSolver", POPULATION | {"n_elite_keep": 2}),
    "mppi": ("MPPISolver", POPULATION | {"temperature": 5.0}),
    "predictive_sampling": ("PredictiveSamplingSolver", {"num_samples": 16}),
    "categorical_cem": ("CategoricalCEMSolver", POPULATION),
    "gradient": ("GradientSolver", STARTS | {"optimizer_cls": torch.optim.Adam, "optimizer_kwargs": {"lr": 0.1}}),
    "pgd": ("PGDSolver", STARTS),
    "lagrangian": ("LagrangianSolver", STARTS | {"n_outer_steps": 1, "optimizer_kwargs": {"lr": 0.1}}),
}


def build() -> LeWM:
    """The checkpoint of the tests, without the packages that its targets name."""
    config = json.loads((HERE / MODEL / "config.json").read_text())

    def fields(name):
        return {key: value for key, value in config[name].items() if not key.startswith("_")}

    def mlp(name):
        return module.MLP(**fields(name) | {"norm_fn": torch.nn.BatchNorm1d})

    sizes = ("image_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    encoder = ViTConfig(**{name: config["encoder"][name] for name in sizes})
    model = LeWM(
        encoder=ViTModel(encoder, add_pooling_layer=False, use_mask_token=False),
        predictor=module.Predictor(**fields("predictor")),
        action_encoder=module.Embedder(**fields("action_encoder")),
        projector=mlp("projector"),
        pred_proj=mlp("pred_proj"),
    )
    model.load_state_dict(torch.load(HERE / MODEL / "weights.pt", weights_only=True))
    return model.eval().requires_grad_(False)


class Costs:
    """The model's cost, which remembers what it gave."""

    def __init__(self, model):
        self.model, self.costs, self.candidates = model, [], []

    def get_cost(self, info, actions):
        costs = self.model.get_cost(info, actions)
        self.costs.append(costs.detach()[0].numpy().copy())
        self.candidates.append(actions.detach()[0].numpy().copy())
        return costs


def record(name, model, io):
    """Draws, candidates and costs of every call, and the answer."""
    cls, options = RUNS[name]
    costs = Costs(model)
    solver = getattr(solvers, cls)(costs, **options)
    discrete = name in ("categorical_cem", "pgd")
    space = gym.spaces.Discrete(2) if discrete else gym.spaces.Box(-1.0, 1.0, (1, 10 // BLOCK), np.float32)
    solver.configure(action_space=space, n_envs=1, config=SimpleNamespace(horizon=HORIZON, action_block=BLOCK))
    info = {"pixels": io["pixels"][:1, -1:], "goal": io["goal"][:1], "action": torch.zeros(1, 1, 10)}

    with recorded_draws() as draws:
        answer = solver.solve({key: value.clone() for key, value in info.items()})
    arrays = {f"draw{index}": draw.numpy() for index, draw in enumerate(draws)}
    arrays |= {"costs": np.stack(costs.costs), "actions": np.asarray(answer["actions"])[0]}
    if name in ("gradient", "pgd", "lagrangian"):
        arrays |= {"candidates": np.stack(costs.candidates), "final": solver.init.detach()[0].numpy()}
    return arrays


def main():
    model = build()
    io = {name: torch.from_numpy(array) for name, array in np.load(HERE / f"{MODEL}_io.npz").items()}
    arrays = {f"{name}/{key}": value for name in RUNS for key, value in record(name, model, io).items()}
    np.savez_compressed(HERE / "lewm_solvers.npz", **arrays)


if __name__ == "__main__":
    main()
