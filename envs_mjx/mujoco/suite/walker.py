"""Walker, `swm/WalkerDMControl-v0`: a planar walker with two legs, and eight tasks for it.

Source: reference: envs/dmcontrol/walker.py and custom_tasks/walker.py; dm_control: suite/walker.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import INF, tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.locks import LockableEnv
from envs_mjx.mujoco.view import View

_SPEEDS = {"walk": 1.0, "run": 8.0, "walk-backward": -1.0}
_STAND = 1.2
_POSE = 1.0
_LOW = 0.08
_LEGS = 1.1


@dataclass(frozen=True)
class WalkerDMControl(LockableEnv):
    """Stand, walk, run or strike a pose with a planar walker.

    The observation is the direction (x and z) of the first axis of each body, the torso's height (m), and all
    velocities. Starts at random joint angles and orientation. Truncated after 500 steps. Tasks: `walk` (1 m/s),
    `stand`, `run` (8 m/s), `walk-backward`, `arabesque`, `lie_down`, `legs_up`, `flip`.

    As in the reference, `floor.rotation_y` (degrees) turns the floor about its own middle, 248 m ahead, so that already
    5 degrees bury the walker; with `fixed` it turns about the starting place. Inert, as in the reference:
    `agent.right_knee_locked`, and the floor's friction below 0.7, which the walker's geoms have. With `fixed`, contacts
    with the floor have its friction and no other contact has more, and `agent.right_knee_locked` (then initially 0)
    locks the right knee.
    """

    domain = "walker"
    inert = ("agent.right_knee_locked",)
    tasks = ("walk", "stand", "run", "walk-backward", "arabesque", "lie_down", "legs_up", "flip")
    time_limit = 500
    substeps = 10
    lock = ("agent.right_knee_locked", "right_knee")
    masses = (
        MassFactor("agent.torso_density", ("torso",)),
        MassFactor("agent.left_foot_density", ("left_foot",)),
    )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "torso_density": factors.density(),
            "left_foot_density": factors.density(),
            "right_knee_locked": factors.lock(self.fixed),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor(friction=True, rotation=True))

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        floor, dtype = self.compiled.host.geom("floor").id, model.geom_quat.dtype
        angle = jnp.deg2rad(factors["floor.rotation_y"][0].astype(dtype))
        zero = jnp.zeros((), dtype)
        fields = super()._more_fields(model, factors)
        fields["geom_quat"] = model.geom_quat.at[floor].set(
            jnp.stack([jnp.cos(angle / 2), zero, jnp.sin(angle / 2), zero])
        )
        if self.fixed:
            # Its middle turns as well, or the drawn floor, which is not endless, would begin ahead of the walker.
            ahead = jnp.stack([jnp.cos(angle), zero, -jnp.sin(angle)])
            fields["geom_pos"] = model.geom_pos.at[floor].set(model.geom_pos[floor, 0] * ahead)
        return fields

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return scene.random_joints(key), scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "24"]:
        axes = view.data.xmat[1:, (0, 0), (0, 2)].reshape(-1)
        return jnp.concatenate([axes, view.height("torso")[None], view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        torso, upright = view.height("torso"), (1 + view.frame("torso")[2, 2]) / 2
        left, right = view.height("left_foot"), view.height("right_foot")
        feet, thighs = (left + right) / 2, (view.height("left_thigh") + view.height("right_thigh")) / 2

        def low(height: Array) -> Array:
            return tolerance(height, (-INF, _LOW), _LOW / 2)

        legs = tolerance(feet, (_LEGS, INF), _LEGS / 2)
        if self.task == "arabesque":
            standing, lifted = (tolerance(height, (_POSE, INF), _POSE / 2) for height in (torso, right))
            return (3 * standing + tolerance(left, (-INF, _LOW), _POSE / 2) + lifted + (1 - upright)) / 6
        if self.task == "lie_down":
            return (3 * low(torso) + low(thighs) + (1 - upright)) / 5
        if self.task == "legs_up":
            return (3 * low(torso) + 2 * legs + low(thighs) + (1 - upright)) / 7
        if self.task == "flip":
            return (3 * legs + 2 * tolerance(thighs, (_POSE, INF), _POSE / 2)) / 5
        standing = (3 * tolerance(torso, (_STAND, INF), _STAND / 2) + upright) / 4
        if self.task == "stand":
            return standing
        wanted = _SPEEDS[self.task]
        forwards = view.sensor("torso_subtreelinvel")[0] * (1.0 if wanted > 0 else -1.0)
        moving = tolerance(forwards, (abs(wanted), INF), abs(wanted) / 2, 0.5, "linear")
        return standing * (5 * moving + 1) / 6

    def _extras(self, view: View) -> dict[str, Array]:
        return {
            "speed": view.sensor("torso_subtreelinvel")[0],
            "torso_height": view.height("torso"),
            "torso_upright": view.frame("torso")[2, 2],
            "left_foot_height": view.height("left_foot"),
            "right_foot_height": view.height("right_foot"),
            "left_thigh_height": view.height("left_thigh"),
            "right_thigh_height": view.height("right_thigh"),
        }
