"""Hopper, `swm/HopperDMControl-v0`: a planar one-legged hopper.

Source: reference: envs/dmcontrol/hopper.py and custom_tasks/hopper.py; dm_control: suite/hopper.py.
"""

from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import INF, tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.locks import LockableEnv
from envs_mjx.mujoco.view import View

_STAND = 0.6
_HOP = 2.0
_SPIN = 5.0


@dataclass(frozen=True)
class HopperDMControl(LockableEnv):
    """Stand, hop either way or flip with a planar hopper.

    The observation is all positions but the horizontal one, all velocities, and the logarithms of one plus the touch
    forces (N) at toe and heel. Starts at random joint angles and orientation, possibly inside the floor, as in the
    suite. Truncated after 500 steps. Tasks: `hop`, `stand`, `hop-backward`, `flip`, `flip-backward`.

    Inert, as in the reference: `floor.friction` (contacts have the larger friction, and that of the hopper is 1) and
    `agent.foot_locked`. With `fixed`, contacts with the floor have its friction and no other contact has more, and
    `agent.foot_locked` (then initially 0) locks the ankle.
    """

    domain = "hopper"
    inert = ("agent.foot_locked", "floor.friction")
    tasks = ("hop", "stand", "hop-backward", "flip", "flip-backward")
    time_limit = 500
    substeps = 4
    lamp = "top"
    lock = ("agent.foot_locked", "ankle")
    masses = (
        MassFactor("agent.torso_density", ("torso",)),
        MassFactor("agent.foot_density", ("foot",)),
    )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "torso_density": factors.density(),
            "foot_density": factors.density(),
            "foot_locked": factors.lock(self.fixed),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor(friction=True))

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return scene.random_joints(key), scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "15"]:
        touch = jnp.log1p(view.sensor("touch_toe", "touch_heel"))
        return jnp.concatenate([view.qpos[1:], view.qvel, touch])

    def _height(self, view: View) -> Float[Array, ""]:
        return view.centre("torso")[2] - view.centre("foot")[2]

    def _reward(self, view: View) -> Float[Array, ""]:
        if self.task in ("flip", "flip-backward"):
            sign = 1.0 if self.task == "flip" else -1.0
            return tolerance(sign * view.spin("torso"), (_SPIN, INF), _SPIN / 2, 0.0, "linear")
        standing, speed = tolerance(self._height(view), (_STAND, 2.0)), view.sensor("torso_subtreelinvel")[0]
        if self.task == "stand":
            return standing * (tolerance(view.ctrl, (0.0, 0.0), 1.0, 0.0, "quadratic").mean() + 4) / 5
        if self.task == "hop":
            return standing * tolerance(speed, (_HOP, INF), _HOP / 2, 0.5, "linear")
        return standing * tolerance(speed, (-INF, -_HOP / 2), _HOP / 4, 0.5, "linear")

    def _extras(self, view: View) -> dict[str, Array]:
        return {
            "speed": view.sensor("torso_subtreelinvel")[0],
            "height": self._height(view),
            "angmomentum": view.spin("torso"),
        }
