"""Cartpole, `swm/CartpoleDMControl-v0`: swing a pole up by moving the cart that it hangs from.

Source: reference: envs/dmcontrol/cartpole.py; dm_control: suite/cartpole.py.
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


@dataclass(frozen=True)
class CartpoleDMControl(SuiteEnv):
    """Swing a pole up and balance it in the middle of a rail.

    The observation is the cart's position (m), cosine and sine of the pole's angle from upright, and both velocities.
    The reward of a control step is 1 within 0.25 m of the middle with a cosine of at least 0.995. Starts hanging,
    nearly at rest. Truncated after 500 steps.

    Inert, as in the reference: `agent.pole_density` (the pole's mass is fixed in the model) and `agent.cart_shape`.
    With `fixed`, `agent.pole_density` scales the pole's mass (0.1 kg at 1000 kg/m^3), and `agent.cart_shape` is 1 for
    the suite's box or 0 for an ellipsoid of the same mass inside it. A cart never turns, so its shape does not change
    how it moves.
    """

    domain = "cartpole"
    inert = ("agent.pole_density", "agent.cart_shape")
    tasks = ("swingup_sparse",)
    time_limit = 500
    masses = (
        MassFactor("agent.cart_mass", ("cart",), "mass"),
        MassFactor("agent.pole_density", ("pole_1",)),
    )
    repaired_masses = (
        MassFactor("agent.cart_mass", ("cart",), "mass"),
        MassFactor("agent.pole_density", ("pole_1",), "mass", 0.1 / 1000),
    )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "cart_mass": factors.number(0.5, 1.5, 1.0, np.float32),
            "pole_density": factors.density(),
            "cart_shape": factors.switch(1),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor())

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        if not self.fixed:
            return {}
        cart = self.compiled.host.geom("cart")
        size = cart.size.astype(model.geom_rbound.dtype)
        reach = jnp.where(factors["agent.cart_shape"] == 1, np.linalg.norm(size), size.max())
        return {"geom_rbound": model.geom_rbound.at[cart.id].set(reach)}

    def _vary_moments(
        self, moments: Float[Array, "nbody 10"], factors: Mapping[str, Array]
    ) -> Float[Array, "nbody 10"]:
        """About the same axes, an ellipsoid has three fifths of the inertia of the box around it."""
        if not self.fixed:
            return moments
        less = jnp.where(factors["agent.cart_shape"] == 1, 1.0, 0.6).astype(moments.dtype)
        return moments.at[self.compiled.host.body("cart").id, 4:].multiply(less)

    def _paint(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray], target: np.ndarray) -> None:
        super()._paint(model, factors, target)
        if self.fixed:
            box = factors["agent.cart_shape"]
            model.geom("cart").type = mujoco.mjtGeom.mjGEOM_BOX if box else mujoco.mjtGeom.mjGEOM_ELLIPSOID

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        noise = 0.01 * jax.random.normal(key, (4,), scene.physics.qpos.dtype)
        return noise[:2].at[1].add(math.pi), noise[2:]

    def _observe(self, view: View) -> Float[Array, "5"]:
        pole = view.frame("pole_1")
        return jnp.concatenate([view.qpos[:1], jnp.stack([pole[2, 2], pole[0, 2]]), view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        centred = tolerance(view.joint("slider"), (-0.25, 0.25))
        return centred * tolerance(view.frame("pole_1")[2, 2], (0.995, 1.0))
