"""The reference's side of models.py, one model a process; runs in the reference's virtual environment.

Reads `settings.json` and `inputs.npz` in the folder that is its argument; writes `weights.pt`, `outputs.npz` and
`result.json` there.
"""

import contextlib
import json
import resource
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from common import time_calls
from model_sizes import ACTION, CLOCKS, HORIZON, PROPRIO, STATE, Sizes, restored
from omegaconf import OmegaConf
from reference_planning import fill
from stable_worldmodel.wm.gcrl import gcrl
from stable_worldmodel.wm.gcrl import module as gcrl_parts
from stable_worldmodel.wm.lewm import LeWM
from stable_worldmodel.wm.lewm import module as lewm_parts
from stable_worldmodel.wm.pldm.pldm import PLDM
from stable_worldmodel.wm.prejepa import module as prejepa_parts
from stable_worldmodel.wm.prejepa.prejepa import PreJEPA
from stable_worldmodel.wm.tdmpc2 import tdmpc2
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

Stages = dict[str, Callable[[], torch.Tensor]]


def build(name: str, sizes: Sizes) -> torch.nn.Module:
    """A model with its initial weights."""
    if name in ("lewm", "pldm"):
        width = sizes.vit[0]
        encoder = ViTConfig(**sizes.encoder(sizes.vit), intermediate_size=4 * width)

        def mlp() -> torch.nn.Module:
            return lewm_parts.MLP(width, sizes.mlp, width, norm_fn=torch.nn.BatchNorm1d)

        return (LeWM if name == "lewm" else PLDM)(
            encoder=ViTModel(encoder, add_pooling_layer=False, use_mask_token=False),
            predictor=lewm_parts.Predictor(**sizes.frames(width), dropout=0.1),
            action_encoder=lewm_parts.Embedder(input_dim=ACTION, emb_dim=width),
            projector=mlp(),
            pred_proj=mlp(),
        )
    if name == "tdmpc2":
        wm = {"horizon": HORIZON, "mlp_dim": sizes.tdmpc2_mlp, "enc_dim": 256, "simnorm_dim": 8, "num_q": 5}
        wm |= {"rho": 0.5, "tau": 0.01, "discount": 0.99, "uncertainty_penalty": 0.5, "num_bins": sizes.bins}
        wm |= {"vmin": -6, "vmax": 2, "encoding": {"state": sizes.tdmpc2_latent}}
        cfg = {"image_size": 64, "action_dim": ACTION, "extra_dims": {"state": STATE}, "wm": wm}
        return tdmpc2.TDMPC2(OmegaConf.create(cfg))
    dino = Dinov2Model(Dinov2Config(**sizes.encoder(sizes.dino), mlp_ratio=4))
    if name == "gcbc":
        return gcrl.GCRL(encoder=dino, action_predictor=gcrl_parts.Predictor(**sizes.trunk(sizes.dino[0]), out_dim=2))
    sources = {"proprio": PROPRIO, "action": ACTION}
    embedders = {n: prejepa_parts.Embedder(in_chans=size, emb_dim=sizes.embedding) for n, size in sources.items()}
    width = sizes.dino[0] + len(sources) * sizes.embedding
    predictor = prejepa_parts.CausalPredictor(**sizes.trunk(width), dropout=0.1)
    return PreJEPA(encoder=dino, predictor=predictor, extra_encoders=torch.nn.ModuleDict(embedders))


def joint_embedding(model: torch.nn.Module, given: dict[str, torch.Tensor]) -> Stages:
    """LeWM and PLDM; LeWM with what a first call leaves behind, while PLDM encodes frame and goal at every call."""
    actions = given["candidates"]
    shared = {name: copies(given[name], actions.shape[1]) for name in ("pixels", "goal")}
    shared["action"] = actions[:, :, :1]

    def encode() -> torch.Tensor:
        return model.encode({"pixels": given["pixels"]})["emb"]

    if isinstance(model, LeWM):
        latents = {"emb": encode(), "goal_emb": model.encode({"pixels": given["goal"]})["emb"]}
        shared |= {name: copies(latent, actions.shape[1]) for name, latent in latents.items()}
    return {
        "encode": encode,
        "rollout": lambda: model.rollout(dict(shared), actions)["predicted_emb"],
        "cost": lambda: model.get_cost(dict(shared), actions),
    }


def prejepa(model: torch.nn.Module, given: dict[str, torch.Tensor]) -> Stages:
    """DINO-WM; the model itself keeps the latents of the same problem."""
    actions = given["candidates"]
    count = actions.shape[1]
    names = ("pixels", "proprio", "goal", "goal_proprio")

    def info() -> dict[str, torch.Tensor]:
        tensors = {name: copies(given[name], count) for name in names}
        ids = {"id": torch.zeros(1, count, 1), "step_idx": torch.zeros(1, count, 1)}
        return tensors | ids | {"action": actions[:, :, :1]}

    def encode() -> torch.Tensor:
        obs = {name: given[name] for name in ("pixels", "proprio")}
        return model.encode(obs, emb_keys=["proprio"])["pixels_emb"]

    return {
        "encode": encode,
        "rollout": lambda: model.rollout(info(), actions)["predicted_pixels_emb"],
        "cost": lambda: model.get_cost(info(), actions),
    }


def temporal_difference(model: torch.nn.Module, given: dict[str, torch.Tensor]) -> Stages:
    """TD-MPC2; its cost encodes one state for all candidates, which is the cheapest form that it takes."""
    actions, state = given["candidates"], given["state"]

    def rollout() -> torch.Tensor:
        latents = [model.encode({"state": state})[:, 0][:, None].expand(-1, actions.shape[1], -1)]
        for step in range(actions.shape[2]):
            latents.append(model.dynamics(torch.cat([latents[-1], actions[:, :, step]], -1)))
        return torch.stack(latents, 2)

    return {
        "encode": lambda: model.encode({"state": state}),
        "rollout": rollout,
        "cost": lambda: model.get_cost({"state": state[:, 0]}, actions),
    }


def baseline(model: torch.nn.Module, given: dict[str, torch.Tensor]) -> Stages:
    """GCBC's policy over a window of frames."""

    def embed() -> tuple[torch.Tensor, torch.Tensor]:
        info = {"pixels": given["pixels"], "goal": given["goal"]}
        model.encode(info, emb_keys=[], target="embed")
        model.encode(info, pixels_key="goal", emb_keys=[], prefix="goal_", target="goal_embed")
        return info["embed"], info["goal_embed"]

    known = embed()
    return {"encode": lambda: embed()[0], "policy": lambda: model.predict_actions(*known)[0]}


STAGES = {
    "lewm": joint_embedding,
    "pldm": joint_embedding,
    "prejepa": prejepa,
    "tdmpc2": temporal_difference,
    "gcbc": baseline,
}


def copies(x: torch.Tensor, count: int) -> torch.Tensor:
    """The same for every candidate."""
    return x[:, None].expand(-1, count, *x.shape[1:])


@torch.inference_mode()
def main(folder: Path) -> None:
    """Build, save, run and time one model."""
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    name = settings["model"]
    model = build(name, restored(settings["sizes"])).eval().requires_grad_(False)
    # Attention masks are in the state dict as well.
    masks = {key: mask.clone() for key, mask in model.named_buffers() if key.endswith("bias")}
    fill(model)
    model.load_state_dict(masks, strict=False)
    torch.save(model.state_dict(), folder / "weights.pt")
    given = {key: torch.from_numpy(array) for key, array in np.load(folder / "inputs.npz").items()}
    narrow = settings["dtype"] == "bfloat16"
    # The reference casts frames to float32, so that only autocast computes in bfloat16.
    with torch.autocast("cpu", torch.bfloat16) if narrow else contextlib.nullcontext():
        calls = STAGES[name](model, given)
        np.savez(folder / "outputs.npz", **{stage: call().double().numpy() for stage, call in calls.items()})
        seconds = {
            stage: time_calls(call, settings["repeats"], CLOCKS[settings["clock"]]).seconds
            for stage, call in calls.items()
        }
    packages = ("torch", "transformers", "stable-worldmodel")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    versions += f"; {settings['dtype']}{' (autocast)' if narrow else ''} on cpu, {torch.get_num_threads()} threads"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (folder / "result.json").write_text(json.dumps({"seconds": seconds, "memory": memory, "versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
