"""Environments around an environment that change how it behaves."""

from envs_mjx.wrappers.action_block import ActionBlock
from envs_mjx.wrappers.auto_reset import AutoReset
from envs_mjx.wrappers.base import Wrapper
from envs_mjx.wrappers.flat_action import FlatAction
from envs_mjx.wrappers.time_limit import TimeLimit

__all__ = ["ActionBlock", "AutoReset", "FlatAction", "TimeLimit", "Wrapper"]
