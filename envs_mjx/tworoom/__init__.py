"""TwoRoom: a dot passes through doors from one room to another."""

from envs_mjx.tworoom.env import TwoRoom
from envs_mjx.tworoom.expert import expert_action, weak_action

__all__ = ["TwoRoom", "expert_action", "weak_action"]
