"""VoidRun: an agent runs over a board whose cells break behind it."""

from envs_mjx.void_run.env import VoidRun

__all__ = ["VoidRun"]
