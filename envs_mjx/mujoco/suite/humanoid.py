"""Humanoid, `swm/HumanoidDMControl-v0`: a humanoid of 21 joints stands, walks or runs.

Source: reference: envs/dmcontrol/humanoid.py; dm_control: suite/humanoid.py.
"""

from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import INF, tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.locks import LockableEnv
from envs_mjx.mujoco.view import View

_SPEEDS = {"walk": 1.0, "stand": 0.0, "run": 10.0}
_STAND = 1.4
_LIMBS = ("left_hand", "left_foot", "right_hand", "right_foot")


@dataclass(frozen=True)
class HumanoidDMControl(LockableEnv):
    """Stand, walk (1 m/s) or run (10 m/s) with a humanoid.

    The observation is the joint angles, the head's height (m), hands and feet in the torso's frame, the torso's
    vertical direction, the velocity of the centre of mass, and all velocities. Starts in the air at random angles and
    orientation at which nothing touches. Truncated after 500 steps. Tasks: `walk`, `stand`, `run`.

    As in the reference, friction of the floor below 0.7, which the humanoid's geoms have, changes nothing, and
    `agent.left_knee_locked` is inert. With `fixed`, contacts with the floor have its friction and no other contact has
    more, and `agent.left_knee_locked` (then initially 0) locks the left knee.
    """

    domain = "humanoid"
    inert = ("agent.left_knee_locked",)
    tasks = ("walk", "stand", "run")
    time_limit = 500
    substeps = 5
    lamp = "top"
    lock = ("agent.left_knee_locked", "left_knee")
    masses = (
        MassFactor("agent.torso_density", ("torso",)),
        MassFactor("agent.right_lower_arm_density", ("right_lower_arm",)),
    )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "torso_density": factors.density(),
            "right_lower_arm_density": factors.density(),
            "left_knee_locked": factors.lock(self.fixed),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor(friction=True))

    def _edit(self, spec: mujoco.MjSpec) -> None:
        # No task looks at them, and forces at sites take long to compile.
        for sensor in list(spec.sensors):
            if sensor.name != "torso_subtreelinvel":
                spec.delete(sensor)

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return scene.free(key, scene.random_joints), scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "67"]:
        torso, axes = view.body("torso"), view.frame("torso")
        limbs = jnp.concatenate([(view.body(name) - torso) @ axes for name in _LIMBS])
        speed = view.sensor("torso_subtreelinvel")
        return jnp.concatenate([view.qpos[7:], view.height("head")[None], limbs, axes[2], speed, view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        speed, wanted = view.sensor("torso_subtreelinvel")[:2], _SPEEDS[self.task]
        standing = tolerance(view.height("head"), (_STAND, INF), _STAND / 4)
        standing = standing * tolerance(view.frame("torso")[2, 2], (0.9, INF), 1.9, 0.0, "linear")
        effort = (4 + tolerance(view.ctrl, (0.0, 0.0), 1.0, 0.0, "quadratic").mean()) / 5
        if self.task == "stand":
            return effort * standing * tolerance(speed, (0.0, 0.0), 2.0).mean()
        moving = tolerance(jnp.linalg.norm(speed), (wanted, INF), wanted, 0.0, "linear")
        return effort * standing * (5 * moving + 1) / 6

    def _extras(self, view: View) -> dict[str, Array]:
        return {
            "speed": jnp.linalg.norm(view.sensor("torso_subtreelinvel")[:2]),
            "torso_upright": view.frame("torso")[2, 2],
            "head_height": view.height("head"),
        }
