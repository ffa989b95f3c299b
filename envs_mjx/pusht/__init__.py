"""PushT: push a block to a pose."""

from envs_mjx.pusht.discrete import PushTDiscrete
from envs_mjx.pusht.env import PushT
from envs_mjx.pusht.expert import weak_action
from envs_mjx.pusht.quantizer import PolarQuantizer

__all__ = ["PolarQuantizer", "PushT", "PushTDiscrete", "weak_action"]
