"""The control suite of DeepMind in MJX; needs the extra `mujoco`."""

from envs_mjx.mujoco.base import MujocoEnv, MujocoPhysics

__all__ = ["MujocoEnv", "MujocoPhysics"]
