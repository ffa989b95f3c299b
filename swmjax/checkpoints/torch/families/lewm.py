"""LeWM in checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from jax import Array

from swmjax.checkpoints.torch.backbones import VIT, describe_vit
from swmjax.checkpoints.torch.family import CANDIDATES, HORIZON, Family, normal
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import MAX_DEPTH, Node, Targets
from swmjax.models.blocks.layers import EmbedderConfig, MLPConfig
from swmjax.models.blocks.vit import ViTConfig
from swmjax.models.lewm.lewm import LeWM, LeWMConfig
from swmjax.models.lewm.predictor import PredictorConfig

_Norm: TypeAlias = Literal["batch", "layer"]


def _predictor(node: Node) -> PredictorConfig:
    node.rates("dropout", "emb_dropout")
    input_dim = node.size("input_dim")
    return PredictorConfig(
        num_frames=node.size("num_frames"),
        input_dim=input_dim,
        hidden_dim=node.size("hidden_dim"),
        output_dim=node.size_or("output_dim", input_dim),
        depth=node.size("depth", limit=MAX_DEPTH),
        heads=node.size("heads"),
        mlp_dim=node.size("mlp_dim"),
        dim_head=node.size("dim_head", 64),
    )


def _embedder(node: Node) -> EmbedderConfig:
    return EmbedderConfig(
        input_dim=node.size("input_dim", 10),
        emb_dim=node.size("emb_dim", 10),
        smoothed_dim=node.size("smoothed_dim", 10),
        mlp_scale=node.size("mlp_scale", 4),
    )


def _mlp(node: Node) -> MLPConfig:
    input_dim = node.size("input_dim")
    has_norm = "norm_fn" in node.values
    node.child_or_none("act_fn", _ACTIVATIONS)
    return MLPConfig(
        input_dim=input_dim,
        hidden_dim=node.size("hidden_dim"),
        output_dim=node.size_or("output_dim", input_dim),
        norm=node.child_or_none("norm_fn", _NORMS) if has_norm else "layer",
    )


def _norm(kind: _Norm) -> Callable[[Node], _Norm]:
    def build(node: Node) -> _Norm:
        node.fixed(_partial_=True, eps=1e-5)
        if kind == "batch":
            node.fixed(affine=True, track_running_stats=True)
            node.rates("momentum")
        else:
            node.fixed(elementwise_affine=True, bias=True)
        return kind

    return build


_NORM_CLASSES: dict[_Norm, str] = {"batch": "torch.nn.BatchNorm1d", "layer": "torch.nn.LayerNorm"}
_NORMS: Targets = {
    **{target: _norm(kind) for kind, target in _NORM_CLASSES.items()},
    # The class itself instead of a call of it that waits for the width.
    "hydra.utils.get_class": lambda node: node.choice("path", {path: kind for kind, path in _NORM_CLASSES.items()}),
}


def _gelu(node: Node) -> None:
    node.fixed(_partial_=True, approximate="none")


_ACTIVATIONS: Targets = {
    "torch.nn.GELU": _gelu,
    "hydra.utils.get_class": lambda node: node.choice("path", {"torch.nn.GELU": None}),
}


def parts(node: Node, modules: tuple[str, ...], predictors: tuple[str, ...]) -> dict[str, Any]:
    """The parts that LeWM and PLDM have in common.

    Args:
        node: the model.
        modules: import paths of the module that has `Embedder` and `MLP`.
        predictors: import paths of the predictor.
    """
    mlps: Targets = {f"{module}.MLP": _mlp for module in modules}
    return {
        "encoder": node.child("encoder", VIT),
        "predictor": node.child("predictor", dict.fromkeys(predictors, _predictor)),
        "action_encoder": node.child("action_encoder", {f"{module}.Embedder": _embedder for module in modules}),
        "projector": node.child_or_none("projector", mlps),
        "pred_proj": node.child_or_none("pred_proj", mlps),
    }


def describe_parts(config: LeWMConfig, package: str, model: str) -> dict[str, Any]:
    """The configuration of a LeWM, or of a PLDM, as the reference's.

    Args:
        config: the model.
        package: import path of its package.
        model: import path of its class.
    """

    def mlp(part: MLPConfig | None) -> dict[str, Any] | None:
        if part is None:
            return None
        sizes = {"input_dim": part.input_dim, "hidden_dim": part.hidden_dim, "output_dim": part.output_dim}
        norm = None if part.norm is None else {"_target_": _NORM_CLASSES[part.norm], "_partial_": True}
        return {"_target_": f"{package}.module.MLP", **sizes, "norm_fn": norm}

    return {
        "_target_": model,
        "encoder": describe_vit(config.encoder),
        "predictor": {"_target_": f"{package}.module.Predictor", **vars(config.predictor)},
        "action_encoder": {"_target_": f"{package}.module.Embedder", **vars(config.action_encoder)},
        "projector": mlp(config.projector),
        "pred_proj": mlp(config.pred_proj),
    }


def _lewm(node: Node) -> LeWMConfig:
    module = "stable_worldmodel.wm.lewm.module"
    config = LeWMConfig(**parts(node, (module, "module"), (f"{module}.Predictor", "module.ARPredictor")))
    # The reference's constructor swallows every other argument; released files carry a few.
    node.known |= set(node.values)
    return config


def example() -> dict[str, Any]:
    """The parts of a small model."""
    return {
        "encoder": ViTConfig(16, 8, 8, 1, 2, 16),
        "predictor": PredictorConfig(3, 8, 8, 8, 1, 2, 16, 4),
        "action_encoder": EmbedderConfig(4, 8),
        "projector": MLPConfig(8, 16, 8, "batch"),
        "pred_proj": MLPConfig(8, 16, 8, "batch"),
    }


def inputs(config: LeWMConfig, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """A frame and candidates of actions."""
    channels, side = config.encoder.num_channels, config.encoder.image_size
    return {
        "pixels": normal(draw, 1, 1, channels, side, side),
        "actions": normal(draw, 1, CANDIDATES, HORIZON, config.action_encoder.input_dim),
    }


def outputs(model: LeWM, given: Mapping[str, Array]) -> dict[str, Array]:
    """The latent of the frame and where the candidates lead."""
    latents, actions = model.encode(given["pixels"]), given["actions"]
    rolled = model.rollout(latents, actions[:, 0, :0], actions)
    return {"latents": latents, "rollout": rolled[:, :, 1:]}


REFERENCE = """
out["latents"] = model.encode({"pixels": given["pixels"]})["emb"]
rolled = model.rollout({"pixels": candidates(given["pixels"])}, given["actions"])
out["rollout"] = predictions(rolled["predicted_emb"])
"""
FAMILY = Family(
    model=LeWM,
    config=LeWMConfig,
    targets={
        "stable_worldmodel.wm.lewm.LeWM": _lewm,
        "stable_worldmodel.wm.lewm.lewm.LeWM": _lewm,
        "stable_worldmodel.wm.LeWM": _lewm,
        "jepa.JEPA": _lewm,
    },
    rules=lambda _: KeyRules(vits=("encoder",)),
    describe=lambda config: describe_parts(config, "stable_worldmodel.wm.lewm", "stable_worldmodel.wm.lewm.LeWM"),
    example=lambda: LeWMConfig(**example()),
    inputs=inputs,
    outputs=outputs,
    reference=REFERENCE,
)
