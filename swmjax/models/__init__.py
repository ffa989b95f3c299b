"""World models as Flax NNX modules."""

from swmjax.models.layers import EmbedderConfig, MLPConfig
from swmjax.models.lewm import LeWM, LeWMConfig
from swmjax.models.predictor import PredictorConfig
from swmjax.models.vit import ViT, ViTConfig

__all__ = ["EmbedderConfig", "LeWM", "LeWMConfig", "MLPConfig", "PredictorConfig", "ViT", "ViTConfig"]
