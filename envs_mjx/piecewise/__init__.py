"""Piecewise: a dot crosses an open room whose zones push it."""

from envs_mjx.piecewise.env import Piecewise
from envs_mjx.piecewise.expert import expert_action, weak_action

__all__ = ["Piecewise", "expert_action", "weak_action"]
