"""MuJoCo models as environments in MJX or MuJoCo's C library, a user's own among them; needs the extra `mujoco`."""

from envs_mjx.checks import needs_extra
from envs_mjx.third_party import quietly

# Without Warp, which is optional, MJX says so on standard output, where the command line prints JSON.
with needs_extra("MuJoCo environments need", "mujoco"), quietly():
    import mujoco.mjx  # noqa: F401

from envs_mjx.mujoco.base import MujocoEnv
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.mjcf import MjcfEnv
from envs_mjx.mujoco.physics import MujocoPhysics
from envs_mjx.mujoco.rewards import tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.view import View

__all__ = ["MassFactor", "MjcfEnv", "MujocoEnv", "MujocoPhysics", "Scene", "View", "tolerance"]
