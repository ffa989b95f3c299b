"""Cartpole, `swm/CartpoleDMControl-v0`: swing a pole up by moving the cart that it hangs from.

Source: reference: envs/dmcontrol/cartpole.py; dm_control: suite/cartpole.py.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco import factors
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite_env import SuiteEnv
from envs_mjx.mujoco.view import View


@dataclass(frozen=True)
class CartpoleDMControl(SuiteEnv):
    """Swing a pole up and balance it in the middle of a rail.

    The observation is the cart's position (m), cosine and sine of the pole's angle from upright, and both velocities.
    The reward of a control step is 1 within 0.25 m of the middle with a cosine of at least 0.995. Starts hanging,
    nearly at rest. Truncated after 500 steps.

    Inert, as in the reference: `agent.pole_density` (the pole's mass is fixed in the model) and `agent.cart_shape`.
    With `fixed`, `agent.pole_density` scales the pole's mass.
    """

    domain = "cartpole"
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

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        noise = 0.01 * jax.random.normal(key, (4,), scene.physics.qpos.dtype)
        return noise[:2].at[1].add(math.pi), noise[2:]

    def _observe(self, view: View) -> Float[Array, "5"]:
        pole = view.frame("pole_1")
        return jnp.concatenate([view.qpos[:1], jnp.stack([pole[2, 2], pole[0, 2]]), view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        centred = tolerance(view.joint("slider"), (-0.25, 0.25))
        return centred * tolerance(view.frame("pole_1")[2, 2], (0.995, 1.0))
