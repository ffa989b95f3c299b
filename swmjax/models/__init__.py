"""World models: Flax NNX modules, models of one's own, and the environment itself as an oracle."""

from swmjax.models.adapters import FunctionModel, from_equinox, from_function, from_linen
from swmjax.models.blocks.precision import cast_model
from swmjax.models.dummy import DummyConfig, DummyWorldModel
from swmjax.models.gcrl import GCRL, GCRLConfig
from swmjax.models.inputs import ModelInputs
from swmjax.models.lewm import PLDM, LeWM, LeWMConfig, PLDMConfig
from swmjax.models.oracle import OracleModel
from swmjax.models.prejepa import PreJEPA, PreJEPAConfig
from swmjax.models.probes import MLPProbe, attach_probe, get_probe
from swmjax.models.protocol import ActingModel, PlannableModel, WorldModel
from swmjax.models.tdmpc2 import TDMPC2, TDMPC2Config

__all__ = [
    "ActingModel",
    "DummyConfig",
    "DummyWorldModel",
    "FunctionModel",
    "GCRL",
    "GCRLConfig",
    "LeWM",
    "LeWMConfig",
    "MLPProbe",
    "ModelInputs",
    "OracleModel",
    "PLDM",
    "PLDMConfig",
    "PlannableModel",
    "PreJEPA",
    "PreJEPAConfig",
    "TDMPC2",
    "TDMPC2Config",
    "WorldModel",
    "attach_probe",
    "cast_model",
    "from_equinox",
    "from_function",
    "from_linen",
    "get_probe",
]
