"""Piecewise: a dot crosses an open room whose zones push it."""

from envs_mjx.piecewise.env import Piecewise
from envs_mjx.piecewise.expert import behaviour_action, expert_action

__all__ = ["Piecewise", "behaviour_action", "expert_action"]
