"""Targets of the frame encoders, shared by the model families."""

from __future__ import annotations

from swmjax.checkpoints.targets.node import MAX_DEPTH, Node, Targets
from swmjax.models.vit import ViTConfig

_VIT_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}


def _vit(node: Node) -> ViTConfig:
    width, layers, heads = node.choice("size", _VIT_SIZES, "tiny")
    node.flag("pretrained", False)
    node.rates("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")
    node.fixed(hidden_act="gelu", layer_norm_eps=1e-12, qkv_bias=True)
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


VIT: Targets = {"stable_pretraining.backbone.utils.vit_hf": _vit}
