"""Pendulum, `swm/PendulumDMControl-v0`: swing a rod up with a weak motor.

Source: reference: envs/dmcontrol/pendulum.py; dm_control: suite/pendulum.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.base import SuiteEnv
from envs_mjx.mujoco.view import View

_ROD_VOLUME = math.pi * 0.02**2 * (0.5 + 4 / 3 * 0.02)
"""Volume of a capsule of radius 2 cm whose cylinder is 50 cm long, m^3."""
_MASS = 1.0
"""Mass at the end, kg."""


@dataclass(frozen=True)
class PendulumDMControl(SuiteEnv):
    """Swing a rod up and keep it upright.

    The observation is cosine and sine of the angle from upright, and the angular velocity (rad/s). The reward of a
    control step is 1 within 8 degrees of upright. Starts at any angle, at rest. Truncated after 500 steps.

    Inert, as in the reference: `agent.pole_density` and `agent.mass_density` (the masses are fixed in the model) and
    `agent.mass_shape`. With `fixed`, `agent.mass_density` scales the mass at the end (1 kg at 1000 kg/m^3),
    `agent.pole_density` is the rod's (0 to 1500 kg/m^3, initially 0, since the suite's rod has no mass), and
    `agent.mass_shape` is 1 for the suite's sphere or 0 for a cube of the same mass around it.
    """

    domain = "pendulum"
    inert = ("agent.pole_density", "agent.mass_density", "agent.mass_shape")
    tasks = ("swingup",)
    time_limit = 500
    mjx_is_faster = True
    masses = (MassFactor("agent.pole_density", ("pole",)), MassFactor("agent.mass_density", ("mass",)))
    repaired_masses = (
        MassFactor("agent.pole_density", ("pole",), "mass", _ROD_VOLUME),
        MassFactor("agent.mass_density", ("mass",), "mass", _MASS / 1000),
    )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "pole_density": factors.number(0, 1500, 0, np.float32) if self.fixed else factors.density(),
            "mass_density": factors.density(),
            "mass_shape": factors.switch(1),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor())

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        if not self.fixed:
            return {}
        geom, round_ = self.compiled.host.geom("mass"), factors["agent.mass_shape"] == 1
        radius, dtype = geom.size[0], model.geom_size.dtype
        size = jnp.where(round_, jnp.asarray((radius, 0, 0), dtype), jnp.full((3,), radius, dtype))
        reach = jnp.where(round_, radius, math.sqrt(3) * radius).astype(dtype)
        return {
            "geom_size": model.geom_size.at[geom.id].set(size),
            "geom_rbound": model.geom_rbound.at[geom.id].set(reach),
        }

    def _vary_moments(
        self, moments: Float[Array, "nbody 10"], factors: Mapping[str, Array]
    ) -> Float[Array, "nbody 10"]:
        """A cube of half length r has the inertia 2/3 m r^2 about every axis, a sphere in it 2/5 m r^2."""
        if not self.fixed:
            return moments
        host, dtype = self.compiled.host, moments.dtype
        mass = factors["agent.mass_density"][0].astype(dtype) * (_MASS / 1000)
        more = mass * (host.geom("mass").size[0] ** 2 * 4 / 15)
        cube = (1 - factors["agent.mass_shape"]).astype(dtype)
        return moments.at[host.body("pole").id, 4:7].add(cube * more)

    def _paint(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray], target: np.ndarray) -> None:
        super()._paint(model, factors, target)
        if self.fixed:
            ball = factors["agent.mass_shape"]
            model.geom("mass").type = mujoco.mjtGeom.mjGEOM_SPHERE if ball else mujoco.mjtGeom.mjGEOM_BOX

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        angle = jax.random.uniform(key, (1,), scene.physics.qpos.dtype, -math.pi, math.pi)
        return angle, scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "3"]:
        pole = view.frame("pole")
        return jnp.stack([pole[2, 2], pole[0, 2], view.qvel[0]])

    def _reward(self, view: View) -> Float[Array, ""]:
        return tolerance(view.frame("pole")[2, 2], (math.cos(math.radians(8)), 1.0))
