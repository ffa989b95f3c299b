"""Reacher, `swm/ReacherDMControl-v0`: bring the tip of a planar arm to a target.

Source: reference: envs/dmcontrol/reacher.py; dm_control: suite/reacher.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.locks import LockableEnv
from envs_mjx.mujoco.suite.marks import Mark
from envs_mjx.mujoco.view import View

_SIZES = {"hard": 0.015, "easy": 0.05, "qpos_match": 0.015}
_TOLERANCE = 0.05


@dataclass(frozen=True)
class ReacherDMControl(LockableEnv):
    """Bring the fingertip of an arm with two joints to a target on the plane.

    The observation is both joint angles (rad), the vector from the fingertip to the target (m) and both velocities. The
    reward of a control step is 1 while fingertip and target touch. Starts at any angles within the joints' limits, at
    rest, with the target 5 to 20 cm from the centre. Truncated after 500 steps. The target vector is x and y (m).

    The tasks differ in the target's radius: 1.5 cm (`hard`, `qpos_match`) or 5 cm (`easy`). `qpos_match` terminates
    when both angles are within 0.05 rad of those of the goal, without counting full turns; before a goal is set, never.

    Inert, as in the reference: `agent.finger_locked`. With `fixed`, it (then initially 0) locks the wrist.
    """

    domain = "reacher"
    inert = ("agent.finger_locked",)
    tasks = ("hard", "easy", "qpos_match")
    time_limit = 500
    floor = "ground"
    target_size = 2
    lock = ("agent.finger_locked", "wrist")
    masses = (
        MassFactor("agent.arm_density", ("arm",)),
        MassFactor("agent.finger_density", ("finger",)),
    )

    @property
    def mark(self) -> Mark:  # type: ignore[override]
        """The target's look."""
        size = _SIZES[self.task]
        return Mark("geom", material="target", size=(size, size, size))

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "arm_density": factors.density(),
            "finger_density": factors.density(),
            "finger_locked": factors.lock(self.fixed),
        }
        return factors.domain_space(
            agent, floor=factors.floor(), target=factors.target(), rendering=factors.rendering()
        )

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return scene.random_joints(key), scene.physics.qvel

    def _draw_target(self, key: Key[Array, ""], dtype: np.dtype) -> Float[Array, "2"]:
        angle_key, radius_key = jax.random.split(key)
        angle = jax.random.uniform(angle_key, (), dtype, 0.0, 2 * math.pi)
        return jax.random.uniform(radius_key, (), dtype, 0.05, 0.20) * jnp.stack([jnp.sin(angle), jnp.cos(angle)])

    def _aim(self, model: ModelFields, target: Float[Array, "2"]) -> dict[str, Array]:
        return {"geom_pos": model.geom_pos.at[self.compiled.host.geom("target").id, :2].set(target)}

    def _paint(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray], target: np.ndarray) -> None:
        """The target is a geom."""
        super()._paint(model, factors, target)
        model.geom("target").pos[:2] = target

    def _gap(self, view: View) -> Float[Array, "2"]:
        return (view.geom("target") - view.geom("finger"))[:2]

    def _observe(self, view: View) -> Float[Array, "6"]:
        return jnp.concatenate([view.qpos, self._gap(view), view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        return tolerance(jnp.linalg.norm(self._gap(view)), (0.0, _SIZES[self.task] + 0.01))

    @property
    def has_success(self) -> bool:
        """In the task qpos_match, whose episodes end at the goal."""
        return self.task == "qpos_match"

    @property
    def reaches_goals(self) -> bool:
        """In the task qpos_match."""
        return self.has_success

    def _reached(self, view: View, goal: Float[Array, "4"]) -> Bool[Array, ""] | None:
        if self.task != "qpos_match":
            return None
        return (jnp.abs(view.qpos - goal[:2]) < _TOLERANCE).all()

    def _extras(self, view: View) -> dict[str, Array]:
        return {"target_pos": view.geom("target")[:2], "finger_pos": view.geom("finger")[:2]}
