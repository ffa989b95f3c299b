"""PushT: push a block to a pose."""

from envs_mjx.pusht.env import PushT
from envs_mjx.pusht.expert import weak_action

__all__ = ["PushT", "weak_action"]
