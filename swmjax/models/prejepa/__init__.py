"""PreJEPA (DINO-WM): the patches of a frozen encoder, rolled forward together."""

from swmjax.models.prejepa.predictor import CausalPredictorConfig
from swmjax.models.prejepa.prejepa import PreJEPA, PreJEPAConfig

__all__ = ["CausalPredictorConfig", "PreJEPA", "PreJEPAConfig"]
