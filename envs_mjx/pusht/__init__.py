"""PushT: push a block to a pose."""

from envs_mjx.pusht.discrete import PushTDiscrete
from envs_mjx.pusht.env import PushT
from envs_mjx.pusht.expert import behaviour_action
from envs_mjx.pusht.quantizer import PolarQuantizer

__all__ = ["PolarQuantizer", "PushT", "PushTDiscrete", "behaviour_action"]
