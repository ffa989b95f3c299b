"""Finger, `swm/FingerDMControl-v0`: spin or turn a body on a hinge with a planar finger.

Source: reference: envs/dmcontrol/finger.py; dm_control: suite/finger.py.
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
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.base import SuiteEnv
from envs_mjx.mujoco.suite.marks import Mark
from envs_mjx.mujoco.view import View

_RADII = {"turn_hard": 0.03, "turn_easy": 0.07, "spin": 0.03}
_HINGE = (0.2, 0.4)
_REACH = 0.13
_SPINNING = 15.0
_SPIN_DAMPING = 0.03


@dataclass(frozen=True)
class FingerDMControl(SuiteEnv):
    """Spin a body on an unactuated hinge with a finger of two links, or turn its tip into a target.

    The observation is both joint angles (rad), the spinner's tip from its hinge (x and z, m), three angular velocities,
    and the logarithms of one plus the touch forces (N) at both sides of the fingertip; in the turning tasks also the
    target from the hinge and the tip's distance from the target's edge. Starts at random angles at which nothing
    touches. Truncated after 500 steps. The target vector is x and z of the target (m).

    Tasks: `turn_hard` and `turn_easy` (a target of 3 or 7 cm, reward 1 inside) and `spin` (reward 1 at 15 rad/s and
    more, with less damping of the hinge, and no target to be seen). There is no gravity.
    """

    domain = "finger"
    tasks = ("turn_hard", "turn_easy", "spin")
    time_limit = 500
    substeps = 2
    floor = "ground"
    target_size = 2
    masses = (
        MassFactor("agent.proximal_density", ("proximal",)),
        MassFactor("agent.fingertip_density", ("fingertip",)),
        MassFactor("spinner.density", ("cap1", "cap2")),
    )

    @property
    def mark(self) -> Mark:  # type: ignore[override]
        """The target's look."""
        radius = _RADII[self.task]
        return Mark("site", material="target", size=(radius, radius, radius))

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        spinner = {
            "color": factors.color(),
            "density": factors.density(),
            "friction": factors.number(0, 1, 0.1, np.float32),
        }
        return factors.domain_space(
            {"proximal_density": factors.density(), "fingertip_density": factors.density()},
            spinner=spaces.Dict(spinner),
            floor=factors.floor(),
            target=factors.target(),
            rendering=factors.rendering(),
        )

    def _edit(self, spec: mujoco.MjSpec) -> None:
        if self.task == "spin":
            spec.joint("hinge").damping[0] = _SPIN_DAMPING

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        hinge = self.compiled.host.joint("hinge").dofadr[0]
        return {"dof_frictionloss": model.dof_frictionloss.at[hinge].set(factors["spinner.friction"][0])}

    def _paint(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray], target: np.ndarray) -> None:
        """The spinner has a colour of its own; the spinning task hides target and tip."""
        super()._paint(model, factors, target)
        model.site("target").pos[::2] = target
        for name in ("cap1", "cap2"):
            model.geom(name).rgba[:3] = factors["spinner.color"]
        if self.task == "spin":
            for name in ("target", "tip"):
                model.site(name).rgba[3] = 0.0

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return scene.free(key, scene.random_joints), scene.physics.qvel

    def _draw_target(self, key: Key[Array, ""], dtype: np.dtype) -> Float[Array, "2"]:
        angle = jax.random.uniform(key, (), dtype, -math.pi, math.pi)
        if self.task == "spin":
            return jnp.asarray((0.0, _HINGE[1]), dtype)
        return jnp.asarray(_HINGE, dtype) + _REACH * jnp.stack([jnp.sin(angle), jnp.cos(angle)])

    def _aim(self, model: ModelFields, target: Float[Array, "2"]) -> dict[str, Array]:
        return {"site_pos": model.site_pos.at[self.compiled.host.site("target").id, ::2].set(target)}

    def _tip(self, view: View) -> Float[Array, "2"]:
        return (view.site("tip") - view.body("spinner"))[::2]

    def _aimed(self, view: View) -> Float[Array, "2"]:
        return (view.site("target") - view.body("spinner"))[::2]

    def _distance(self, view: View) -> Float[Array, ""]:
        return jnp.linalg.norm(self._aimed(view) - self._tip(view)) - _RADII[self.task]

    def _observe(self, view: View) -> Float[Array, " O"]:
        joints = jnp.stack([view.joint("proximal"), view.joint("distal")])
        touch = jnp.log1p(view.sensor("touchtop", "touchbottom"))
        found = [joints, self._tip(view), view.qvel, touch]
        if self.task != "spin":
            found += [self._aimed(view), self._distance(view)[None]]
        return jnp.concatenate(found)

    def _reward(self, view: View) -> Float[Array, ""]:
        if self.task == "spin":
            return (view.joint_speed("hinge") <= -_SPINNING).astype(view.qvel.dtype)
        return (self._distance(view) <= 0).astype(view.qvel.dtype)

    def _extras(self, view: View) -> dict[str, Array]:
        return {
            "hinge_velocity": view.joint_speed("hinge"),
            "target_position": self._aimed(view),
            "tip_position": self._tip(view),
        }
