"""LeWM and PLDM: one latent a frame, rolled forward by actions."""

from swmjax.models.lewm.lewm import LeWM, LeWMConfig
from swmjax.models.lewm.pldm import PLDM, PLDMConfig
from swmjax.models.lewm.predictor import PredictorConfig

__all__ = ["LeWM", "LeWMConfig", "PLDM", "PLDMConfig", "PredictorConfig"]
