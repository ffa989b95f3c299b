"""The control suite of DeepMind in MJX; needs the extra `mujoco`."""

import contextlib
import io

# Without Warp, which is optional, MJX says so on standard output, where the command line prints JSON.
with contextlib.redirect_stdout(io.StringIO()):
    import mujoco.mjx  # noqa: F401

from envs_mjx.mujoco.base import MujocoEnv
from envs_mjx.mujoco.physics import MujocoPhysics

__all__ = ["MujocoEnv", "MujocoPhysics"]
