"""Acrobot, `swm/AcrobotDMControl-v0`: swing a double pendulum up with a motor at its elbow.

Source: reference: envs/dmcontrol/acrobot.py; dm_control: suite/acrobot.py.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.locks import LockableEnv
from envs_mjx.mujoco.suite.marks import Mark
from envs_mjx.mujoco.view import View


@dataclass(frozen=True)
class AcrobotDMControl(LockableEnv):
    """Swing a double pendulum up until its tip is in the target above.

    The observation is the sines and then the cosines of both arms' angles from upright, and both angular velocities
    (rad/s). The reward of a control step is 1 while the tip is within 0.2 m of the target. Starts at any angles, at
    rest. Truncated after 500 steps.

    Inert, as in the reference: both densities (the masses are fixed in the model), `agent.upper_arm_locked`, and the
    target's colour and shape (pictures leave out its group of sites). With `fixed`, the densities scale the masses
    (1 kg at 1000 kg/m^3), `agent.upper_arm_locked` (then initially 0) locks the shoulder, and the target shows.
    """

    domain = "acrobot"
    inert = (
        "agent.upper_arm_density",
        "agent.lower_arm_density",
        "agent.upper_arm_locked",
        "target.color",
        "target.shape",
    )
    tasks = ("swingup_sparse",)
    time_limit = 500
    mjx_is_faster = True
    masses = (
        MassFactor("agent.upper_arm_density", ("upper_arm",)),
        MassFactor("agent.lower_arm_density", ("lower_arm",)),
    )
    repaired_masses = (
        MassFactor("agent.upper_arm_density", ("upper_arm",), "mass", 1.0 / 1000),
        MassFactor("agent.lower_arm_density", ("lower_arm",), "mass", 1.0 / 1000),
    )
    mark = Mark("site", material="target", size=(0.2, 0.2, 0.2), hideable=False)
    lock = ("agent.upper_arm_locked", "shoulder")

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "upper_arm_density": factors.density(),
            "lower_arm_density": factors.density(),
            "upper_arm_locked": factors.lock(self.fixed),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor(), target=factors.target())

    def _edit(self, spec: mujoco.MjSpec) -> None:
        if self.fixed:
            spec.site("target").group = 0

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        angles = jax.random.uniform(key, (2,), scene.physics.qpos.dtype, -math.pi, math.pi)
        return angles, scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "6"]:
        arms = jnp.stack([view.frame("upper_arm"), view.frame("lower_arm")])
        return jnp.concatenate([arms[:, 0, 2], arms[:, 2, 2], view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        return tolerance(jnp.linalg.norm(view.site("target") - view.site("tip")), (0.0, 0.2))
