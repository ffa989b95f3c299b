"""Ball in cup, `swm/BallInCupDMControl-v0`: swing a ball on a string into a cup.

Source: reference: envs/dmcontrol/ball_in_cup.py; dm_control: suite/ball_in_cup.py.
"""

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
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.base import SuiteEnv
from envs_mjx.mujoco.suite.marks import Mark
from envs_mjx.mujoco.view import View


@dataclass(frozen=True)
class BallInCupDMControl(SuiteEnv):
    """Swing a ball that hangs on a string into the cup that it hangs from.

    The observation is positions (m) and velocities of cup and ball, x before z. The reward of a control step is 1 while
    the whole ball is inside the cup (also `info["success"]`). Starts with the ball at a place where it touches nothing.
    Truncated after 500 steps. A ball of more than 5 cm could not be inside at all.

    Inert, as in the reference: `ball.color`, and the target's colour, shape and visibility (pictures leave out its
    group of sites). With `fixed`, the ball has its colour, and the target shows when `rendering.render_target` is 1.
    """

    domain = "ball_in_cup"
    inert = ("ball.color", "target.color", "target.shape", "rendering.render_target")
    tasks = ("catch",)
    time_limit = 500
    substeps = 10
    floor = "ground"
    masses = (
        MassFactor("agent.density", tuple(f"cup_part_{part}" for part in range(5))),
        MassFactor("ball.density", ("ball",)),
    )
    mark = Mark("site", material=None, size=(0.05, 0.006, 0.05))

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        ball = {
            "color": factors.color(),
            "density": factors.density(),
            "size": factors.number(0.01, 0.05, 0.025, np.float32),
        }
        return factors.domain_space(
            {"density": factors.density()},
            ball=spaces.Dict(ball),
            gravity=factors.gravity(),
            floor=factors.floor(),
            target=factors.target(),
            rendering=factors.rendering(),
        )

    def _edit(self, spec: mujoco.MjSpec) -> None:
        if self.fixed:
            spec.site("target").group = 0

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        ball = self.compiled.host.geom("ball").id
        radius = factors["ball.size"][0].astype(model.geom_size.dtype)
        return {
            "geom_size": model.geom_size.at[ball, 0].set(radius),
            "geom_rbound": model.geom_rbound.at[ball].set(radius),
            "geom_aabb": model.geom_aabb.at[ball, 3:].set(radius),
        }

    def _vary_moments(
        self, moments: Float[Array, "nbody 10"], factors: Mapping[str, Array]
    ) -> Float[Array, "nbody 10"]:
        """A sphere's mass grows with the third power of its radius, its inertia with the fifth."""
        host = self.compiled.host
        larger = factors["ball.size"][0].astype(moments.dtype) / host.geom("ball").size[0]
        body = host.body("ball").id
        return moments.at[body, 0].multiply(larger**3).at[body, 4:].multiply(larger**5)

    def _paint(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray], target: np.ndarray) -> None:
        super()._paint(model, factors, target)
        if self.fixed:
            # Nothing but the ball has this material.
            model.material("effector").rgba[:3] = factors["ball.color"]

    def _tinted(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        fields = super()._tinted(model, factors)
        if not self.fixed:
            return fields
        ball = self.compiled.host.material("effector").id
        return fields | {
            "mat_rgba": fields["mat_rgba"].at[ball, :3].set(factors["ball.color"].astype(model.mat_rgba.dtype))
        }

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        def ball(key: Array) -> Float[Array, " nq"]:
            x_key, z_key = jax.random.split(key)
            qpos = scene.physics.qpos
            x = jax.random.uniform(x_key, (), qpos.dtype, -0.2, 0.2)
            return qpos.at[2].set(x).at[3].set(jax.random.uniform(z_key, (), qpos.dtype, 0.2, 0.5))

        return scene.free(key, ball), scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "8"]:
        return jnp.concatenate([view.qpos, view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        away = jnp.abs(view.site("target") - view.body("ball"))[::2]
        return (away < 0.05 - view.geom_size("ball")[0]).all().astype(away.dtype)

    def _extras(self, view: View) -> dict[str, Array]:
        return {"success": self._reward(view)}
