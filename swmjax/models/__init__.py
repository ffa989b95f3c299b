"""World models: Flax NNX modules, and the environment itself as an oracle."""

from swmjax.models.adapters import FunctionModel, from_equinox, from_function, from_linen
from swmjax.models.causal_predictor import CausalPredictorConfig
from swmjax.models.dinov2 import DINOv2, DINOv2Config
from swmjax.models.dummy import DummyConfig, DummyWorldModel
from swmjax.models.gcrl import GCRL, GCRLConfig
from swmjax.models.inputs import ModelInputs, model_inputs
from swmjax.models.layers import EmbedderConfig, LinearEmbedderConfig, MLPConfig
from swmjax.models.lewm import LeWM, LeWMConfig
from swmjax.models.oracle import OracleModel
from swmjax.models.pldm import PLDM, PLDMConfig
from swmjax.models.precision import cast_model
from swmjax.models.predictor import PredictorConfig
from swmjax.models.prejepa import PreJEPA, PreJEPAConfig
from swmjax.models.probes import MLPProbe, attach_probe, get_probe
from swmjax.models.protocol import WorldModel
from swmjax.models.resnet import ResNet, ResNetConfig
from swmjax.models.tdmpc2 import TDMPC2, TDMPC2Config
from swmjax.models.vit import ViT, ViTConfig

__all__ = [
    "CausalPredictorConfig",
    "DINOv2",
    "DINOv2Config",
    "DummyConfig",
    "DummyWorldModel",
    "EmbedderConfig",
    "FunctionModel",
    "GCRL",
    "GCRLConfig",
    "LeWM",
    "LeWMConfig",
    "LinearEmbedderConfig",
    "MLPConfig",
    "MLPProbe",
    "ModelInputs",
    "OracleModel",
    "PLDM",
    "PLDMConfig",
    "PreJEPA",
    "PreJEPAConfig",
    "PredictorConfig",
    "ResNet",
    "ResNetConfig",
    "TDMPC2",
    "TDMPC2Config",
    "ViT",
    "ViTConfig",
    "WorldModel",
    "attach_probe",
    "cast_model",
    "from_equinox",
    "from_function",
    "from_linen",
    "get_probe",
    "model_inputs",
]
