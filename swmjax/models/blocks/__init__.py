"""What the models are built of: encoders, embedders and projectors, with torch's numerics."""

from swmjax.models.blocks.dinov2 import DINOv2, DINOv2Config
from swmjax.models.blocks.layers import EmbedderConfig, LinearEmbedderConfig, MLPConfig
from swmjax.models.blocks.resnet import ResNet, ResNetConfig
from swmjax.models.blocks.two_hot import Bins
from swmjax.models.blocks.vit import ViT, ViTConfig

__all__ = [
    "Bins",
    "DINOv2",
    "DINOv2Config",
    "EmbedderConfig",
    "LinearEmbedderConfig",
    "MLPConfig",
    "ResNet",
    "ResNetConfig",
    "ViT",
    "ViTConfig",
]
