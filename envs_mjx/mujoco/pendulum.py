"""Pendulum, `swm/PendulumDMControl-v0`: swing a rod up with a weak motor.

Source: reference: envs/dmcontrol/pendulum.py; dm_control: suite/pendulum.py.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco import factors
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite_env import SuiteEnv
from envs_mjx.mujoco.view import View


@dataclass(frozen=True)
class PendulumDMControl(SuiteEnv):
    """Swing a rod up and keep it upright.

    The observation is cosine and sine of the angle from upright, and the angular velocity (rad/s). The reward of a
    control step is 1 within 8 degrees of upright. Starts at any angle, at rest. Truncated after 500 steps.

    Inert, as in the reference: `agent.pole_density` and `agent.mass_density` (the masses are fixed in the model) and
    `agent.mass_shape`. With `fixed`, `agent.mass_density` scales the mass at the end; the rod stays without mass.
    """

    domain = "pendulum"
    tasks = ("swingup",)
    time_limit = 500
    masses = (MassFactor("agent.pole_density", ("pole",)), MassFactor("agent.mass_density", ("mass",)))
    repaired_masses = (MassFactor("agent.mass_density", ("mass",), "mass", 1.0 / 1000),)

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "pole_density": factors.density(),
            "mass_density": factors.density(),
            "mass_shape": factors.switch(1),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor())

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        angle = jax.random.uniform(key, (1,), scene.physics.qpos.dtype, -math.pi, math.pi)
        return angle, scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "3"]:
        pole = view.frame("pole")
        return jnp.stack([pole[2, 2], pole[0, 2], view.qvel[0]])

    def _reward(self, view: View) -> Float[Array, ""]:
        return tolerance(view.frame("pole")[2, 2], (math.cos(math.radians(8)), 1.0))
