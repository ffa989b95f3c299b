"""The reference's side of planning.py; runs in the reference's virtual environment, started by planning.py.

Reads `config.json`, `inputs.npz` and `settings.json` in the folder that is its argument; writes `weights.pt`,
`plan.npz` and `result.json` there.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from common import time_calls
from gymnasium.spaces import Box
from stable_worldmodel.policy import PlanConfig
from stable_worldmodel.solver import CEMSolver
from stable_worldmodel.wm.lewm import LeWM, module
from transformers import ViTConfig, ViTModel


def build(config: dict) -> LeWM:
    """The model that config.json describes, without the packages that its targets name."""

    def fields(name: str) -> dict:
        return {key: value for key, value in config[name].items() if not key.startswith("_")}

    def mlp(name: str) -> module.MLP:
        return module.MLP(**fields(name) | {"norm_fn": torch.nn.BatchNorm1d})

    sizes = (
        "image_size",
        "patch_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    )
    encoder = ViTConfig(**{name: config["encoder"][name] for name in sizes})
    return LeWM(
        encoder=ViTModel(encoder, add_pooling_layer=False, use_mask_token=False),
        predictor=module.Predictor(**fields("predictor")),
        action_encoder=module.Embedder(**fields("action_encoder")),
        projector=mlp("projector"),
        pred_proj=mlp("pred_proj"),
    )


def fill(model: LeWM) -> None:
    """Random weights of a sensible scale and nothing at zero: fresh gates would hide the actions from the cost."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            value = noise / tensor[0].numel() ** 0.5
        elif name.endswith("running_var") or (name.endswith("weight") and "norm" in name):
            value = 1 + 0.1 * noise.abs()
        else:
            value = 0.1 * noise
        tensor.copy_(value)


def main(folder: Path) -> None:
    """Build, save, time, and plan once more with the noise that both sides share."""
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    model = build(json.loads((folder / "config.json").read_text())).eval().requires_grad_(False)
    fill(model)
    torch.save(model.state_dict(), folder / "weights.pt")

    inputs = {name: torch.from_numpy(array) for name, array in np.load(folder / "inputs.npz").items()}
    pixels, goal, noise = inputs["pixels"], inputs["goal"], inputs["noise"]
    block = settings["action_block"]
    solver = CEMSolver(model, **settings["solver"])
    solver.configure(
        action_space=Box(-1.0, 1.0, (1, noise.shape[-1] // block), np.float32),
        n_envs=1,
        config=PlanConfig(settings["horizon"], settings["horizon"], action_block=block),
    )
    frames = {"pixels": pixels, "goal": goal, "action": torch.zeros(1, 1, noise.shape[-1])}

    @torch.inference_mode()
    def encode() -> None:
        for frame in (pixels, goal):
            model.encode({"pixels": frame})

    # The solver draws once a step, and the model in evaluation mode never does. This first plan also warms up.
    with mock.patch.object(torch, "randn", side_effect=list(noise[:, None])):
        plan = solver.solve(dict(frames))
    np.savez(folder / "plan.npz", actions=plan["actions"][0].numpy(), cost=plan["costs"][0])
    encode()
    calls = {"plan": lambda: solver.solve(dict(frames)), "encode": encode}
    seconds = {name: time_calls(call, settings["repeats"]).seconds for name, call in calls.items()}

    packages = ("torch", "transformers", "stable-worldmodel")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    versions += f"; float32 on cpu, {torch.get_num_threads()} threads"
    (folder / "result.json").write_text(json.dumps({"seconds": seconds, "versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
