"""The control suite of DeepMind, one domain a file."""

from envs_mjx.mujoco.suite.base import SuiteEnv

__all__ = ["SuiteEnv"]
