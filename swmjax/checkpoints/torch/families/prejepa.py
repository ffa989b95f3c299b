"""PreJEPA (DINO-WM) in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax import Array

from swmjax.checkpoints.torch.backbones import DINOV2, create_backbone, describe_backbone, frame_side
from swmjax.checkpoints.torch.family import CANDIDATES, HORIZON, Family, normal
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import MAX_DEPTH, Node, Targets
from swmjax.models.blocks.dinov2 import DINOv2Config
from swmjax.models.blocks.layers import LinearEmbedderConfig
from swmjax.models.prejepa.predictor import CausalPredictorConfig
from swmjax.models.prejepa.prejepa import PreJEPA, PreJEPAConfig

_MODULE = "stable_worldmodel.wm.prejepa.module"


def trunk_sizes(node: Node) -> dict[str, Any]:
    """The sizes of a transformer over patches, which the goal-conditioned baselines have as well."""
    node.rates("dropout", "emb_dropout")
    sizes = {name: node.size(name) for name in ("num_patches", "num_frames", "dim", "heads", "mlp_dim")}
    return sizes | {"depth": node.size("depth", limit=MAX_DEPTH), "dim_head": node.size("dim_head", 64)}


def _predictor(node: Node) -> CausalPredictorConfig:
    node.choice("pool", {"cls": None, "mean": None}, "cls")
    config = CausalPredictorConfig(**trunk_sizes(node))
    # The reference's constructor swallows every other argument.
    node.known |= set(node.values)
    return config


def linear_embedder(node: Node) -> LinearEmbedderConfig:
    """The embedder of a vector source, which the goal-conditioned baselines have as well."""
    node.size("num_frames", 1)
    node.fixed(tubelet_size=1)
    return LinearEmbedderConfig(in_chans=node.size("in_chans", 8), emb_dim=node.size("emb_dim", 10))


def embedders(*modules: str) -> Targets:
    """Targets of a torch ModuleDict of embedders; it builds pairs of name and configuration, in order."""
    parts: Targets = {f"{module}.Embedder": linear_embedder for module in modules}

    def build(node: Node) -> tuple[tuple[str, LinearEmbedderConfig], ...]:
        modules = node.object("modules")
        return tuple((name, modules.child(name, parts)) for name in modules.values)

    return {"torch.nn.ModuleDict": build}


def describe_embedders(config: tuple[tuple[str, LinearEmbedderConfig], ...], module: str) -> dict[str, Any]:
    """The node of a torch ModuleDict that builds these embedders.

    Args:
        config: pairs of name and embedder, in order.
        module: import path of the module that has `Embedder`.
    """
    parts = {name: {"_target_": f"{module}.Embedder", **vars(embedder)} for name, embedder in config}
    return {"_target_": "torch.nn.ModuleDict", "modules": parts}


def _prejepa(node: Node) -> PreJEPAConfig:
    node.fixed(num_pred=1, pixel_token="patch")
    node.flag("interpolate_pos_encoding", True)
    # Planning does not decode.
    node.take("decoder", None)
    return PreJEPAConfig(
        encoder=node.child("encoder", create_backbone(_MODULE)),
        predictor=node.child("predictor", {f"{_MODULE}.CausalPredictor": _predictor}),
        extra_encoders=node.child("extra_encoders", embedders(_MODULE)),
        history_size=node.size("history_size", 3),
    )


def _describe(config: PreJEPAConfig) -> dict[str, Any]:
    return {
        "_target_": "stable_worldmodel.wm.prejepa.PreJEPA",
        "encoder": describe_backbone(config.encoder, DINOV2, _MODULE),
        "predictor": {"_target_": f"{_MODULE}.CausalPredictor", **vars(config.predictor)},
        "extra_encoders": describe_embedders(config.extra_encoders, _MODULE),
        "history_size": config.history_size,
    }


def _buffers(config: PreJEPAConfig) -> dict[str, np.ndarray]:
    predictor = config.predictor
    mask = block_causal(predictor.num_frames, predictor.num_patches).astype(np.float32)
    return {f"predictor.transformer.layers.{i}.0.bias": mask for i in range(predictor.depth)}


def block_causal(frames: int, patches: int) -> np.ndarray:
    """Mask [1, 1, frames * patches, frames * patches] of tokens that attend to all of their frame and of those before.

    Args:
        frames: Frames of the window.
        patches: Tokens of a frame.
    """
    frame = np.arange(frames * patches) // patches
    return (frame[:, None] >= frame[None])[None, None]


def _example() -> PreJEPAConfig:
    encoder = DINOv2Config(8, 1, 2, 2, 28, 14)
    predictor = CausalPredictorConfig(4, 3, 13, 1, 2, 16, 4)
    embedders = (("proprio", LinearEmbedderConfig(3, 2)), ("action", LinearEmbedderConfig(4, 3)))
    return PreJEPAConfig(encoder, predictor, embedders)


def _inputs(config: PreJEPAConfig, draw: np.random.Generator) -> dict[str, np.ndarray]:
    lengths = {name: embedder.in_chans for name, embedder in config.extra_encoders}
    actions = normal(draw, 1, CANDIDATES, HORIZON, lengths.pop("action"))
    side = frame_side(config.encoder, config.predictor.num_patches)
    given = {"pixels": normal(draw, 1, 1, config.encoder.num_channels, side, side), "actions": actions}
    return given | {name: normal(draw, 1, 1, length) for name, length in lengths.items()}


def _outputs(model: PreJEPA, given: Mapping[str, Array]) -> dict[str, Array]:
    actions = given["actions"]
    rolled = model.rollout(model.encode(given), actions[:, 0, :0], actions)
    return {f"rollout_{name}": value[:, :, 1:] for name, value in rolled.items()}


_REFERENCE = """
sources = [name for name in given if name != "actions"]
info = {name: candidates(given[name]) for name in sources}
info |= {name: torch.zeros(1, given["actions"].shape[1], 1) for name in ("id", "step_idx")}
info = model.rollout(info, given["actions"])
for name in sources:
    out[f"rollout_{name}"] = predictions(info[f"predicted_{name}_emb"])
"""
FAMILY = Family(
    model=PreJEPA,
    config=PreJEPAConfig,
    targets={
        "stable_worldmodel.wm.PreJEPA": _prejepa,
        "stable_worldmodel.wm.prejepa.PreJEPA": _prejepa,
        "stable_worldmodel.wm.prejepa.prejepa.PreJEPA": _prejepa,
    },
    rules=lambda _: KeyRules(
        dinos=("backbone",),
        # Attention masks, and a decoder for pictures.
        unused=(r"^predictor\.transformer\.layers\.\d+\.0\.bias$", r"^decoder\."),
    ),
    describe=_describe,
    example=_example,
    inputs=_inputs,
    outputs=_outputs,
    reference=_REFERENCE,
    buffers=_buffers,
    backbone=lambda config: config.encoder,
)
