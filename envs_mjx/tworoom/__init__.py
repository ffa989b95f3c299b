"""TwoRoom: a dot passes through doors from one room to another."""

from envs_mjx.tworoom.env import TwoRoom
from envs_mjx.tworoom.expert import behaviour_action, expert_action

__all__ = ["TwoRoom", "behaviour_action", "expert_action"]
