"""World models: Flax NNX modules, and the environment itself as an oracle."""

from swmjax.models.layers import EmbedderConfig, MLPConfig
from swmjax.models.lewm import LeWM, LeWMConfig
from swmjax.models.oracle import OracleModel
from swmjax.models.pldm import PLDM, PLDMConfig
from swmjax.models.predictor import PredictorConfig
from swmjax.models.protocol import WorldModel
from swmjax.models.vit import ViT, ViTConfig

__all__ = [
    "EmbedderConfig",
    "LeWM",
    "LeWMConfig",
    "MLPConfig",
    "OracleModel",
    "PLDM",
    "PLDMConfig",
    "PredictorConfig",
    "ViT",
    "ViTConfig",
    "WorldModel",
]
