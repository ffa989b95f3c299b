"""Targets of the frame encoders, shared by the model families."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from envs_mjx.checks import UserError
from swmjax.checkpoints.torch.node import MAX_DEPTH, Node, Targets
from swmjax.models.blocks.dinov2 import DINOv2Config
from swmjax.models.blocks.resnet import ResNetConfig
from swmjax.models.blocks.vit import ViTConfig

_VIT_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
_DINOV2_SIZES = {
    "small": DINOv2Config(),
    "base": DINOv2Config(hidden_size=768, num_attention_heads=12),
    "large": DINOv2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16),
    "giant": DINOv2Config(hidden_size=1536, num_hidden_layers=40, num_attention_heads=24, use_swiglu_ffn=True),
}
DINOV2 = {
    name: config
    for size, plain in _DINOV2_SIZES.items()
    for name, config in {
        f"dinov2_{size}": plain,
        f"facebook/dinov2-{size}": plain,
        f"facebook/dinov2-with-registers-{size}": replace(plain, num_register_tokens=4),
    }.items()
}
"""Names of `create_backbone` that swmjax has, with what the hub's configuration says of each."""


def _vit(node: Node) -> ViTConfig:
    width, layers, heads = node.choice("size", _VIT_SIZES, "tiny")
    node.flag("pretrained", False)
    node.rates("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")
    node.fixed(hidden_act="gelu", layer_norm_eps=1e-12, qkv_bias=True, interpolate_pos_encoding=True)
    # Of a decoder of pixels and a pooling layer, which this model has not, and how attention is computed.
    for name in ("encoder_stride", "pooler_output_size", "pooler_act", "attn_implementation"):
        node.take(name, None)
    return ViTConfig(
        image_size=node.size("image_size", 224),
        patch_size=node.size("patch_size", 16),
        hidden_size=node.size("hidden_size", width),
        num_hidden_layers=node.size("num_hidden_layers", layers, MAX_DEPTH),
        num_attention_heads=node.size("num_attention_heads", heads),
        intermediate_size=node.size("intermediate_size", 4 * width),
        use_mask_token=node.flag("use_mask_token", True),
        num_channels=node.size("num_channels", 3),
    )


_VIT_HF = "stable_pretraining.backbone.utils.vit_hf"
VIT: Targets = {_VIT_HF: _vit}


def describe_vit(config: ViTConfig) -> dict[str, Any]:
    """The node that builds this ViT."""
    return {"_target_": _VIT_HF, "size": "tiny", **vars(config), "pretrained": False}


def describe_backbone(config: Any, names: Mapping[str, Any], module: str) -> dict[str, Any]:
    """The node of `create_backbone` that builds this backbone.

    Args:
        config: the backbone.
        names: names that `create_backbone` takes, with what each one means.
        module: import path of the module that has it.

    Raises:
        UserError: no name means such a backbone.
    """
    if config not in names.values():
        raise UserError(f"the reference has no name for {config}; allowed are {', '.join(names)}")
    # The longer names are those of the hub, which every release of the reference takes.
    name = max((name for name in names if names[name] == config), key=len)
    return {"_target_": f"{module}.create_backbone", "name": name}


def create_backbone(*modules: str) -> Targets:
    """Targets of the reference's `create_backbone`, which lies in several of its modules."""
    return {f"{module}.create_backbone": lambda node: node.choice("name", DINOV2) for module in modules}


def frame_side(encoder: Any, patches: int) -> int:
    """Side of frames of which this encoder makes so many patches, px."""
    if isinstance(encoder, ResNetConfig):
        return 64
    return math.isqrt(patches - getattr(encoder, "num_register_tokens", 0)) * encoder.patch_size


def stand_in(config: Any) -> dict[str, Any] | None:
    """What the reference is to build with transformers instead of asking the hub for this backbone."""
    if not isinstance(config, ResNetConfig | DINOv2Config):
        return None
    sizes = dict(vars(config))
    if isinstance(config, ResNetConfig):
        return {"model": "ResNetForImageClassification", "config": "ResNetConfig", "sizes": sizes}
    registers = sizes.pop("num_register_tokens")
    if registers:
        names = {"model": "Dinov2WithRegistersModel", "config": "Dinov2WithRegistersConfig"}
        return names | {"sizes": sizes | {"num_register_tokens": registers}}
    return {"model": "Dinov2Model", "config": "Dinov2Config", "sizes": sizes}
