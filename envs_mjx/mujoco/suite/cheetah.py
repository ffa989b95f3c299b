"""Cheetah, `swm/CheetahDMControl-v0`: a planar runner with six joints, and eleven tasks for it.

Source: reference: envs/dmcontrol/cheetah.py and custom_tasks/cheetah.py; dm_control: suite/cheetah.py.
"""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import INF, tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.locks import LockableEnv
from envs_mjx.mujoco.view import View

_RUN_SPEEDS = {"run": 10.0, "run-backward": 10.0, "run-front": 5.0, "run-back": 5.0}
_HIGH = 1.2
_LOW = 0.25
_SPIN = 8.0
_SETTLING = 200


@dataclass(frozen=True)
class CheetahDMControl(LockableEnv):
    """Run, stand on one pair of legs, jump, lie down or flip with a planar cheetah.

    The observation is all positions but the horizontal one, and all velocities. Starts at random angles of the limited
    joints, after two seconds without control. Truncated after 1250 steps.

    Tasks: `run`, `run-backward` (10 m/s), `run-front`, `run-back` (5 m/s on the front or back legs), `stand-front`,
    `stand-back`, `jump`, `lie-down`, `legs-up`, `flip`, `flip-backward`.

    All bodies together weigh 14 kg, so a density changes how the mass is spread. As in the reference, friction of the
    floor below 0.4, which the cheetah's own geoms have, changes nothing, and `agent.back_foot_locked` is inert. With
    `fixed`, contacts with the floor have its friction and no other contact has more, and `agent.back_foot_locked` (then
    initially 0) locks the joint of the back foot.
    """

    domain = "cheetah"
    inert = ("agent.back_foot_locked",)
    tasks = (
        "run",
        "run-backward",
        "stand-front",
        "stand-back",
        "jump",
        "run-front",
        "run-back",
        "lie-down",
        "legs-up",
        "flip",
        "flip-backward",
    )
    time_limit = 1250
    floor = "ground"
    total_mass = 14.0
    lock = ("agent.back_foot_locked", "bfoot")
    masses = (
        MassFactor("agent.torso_density", ("torso",)),
        MassFactor("agent.back_foot_density", ("bfoot",)),
    )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "torso_density": factors.density(),
            "back_foot_density": factors.density(),
            "back_foot_locked": factors.lock(self.fixed),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor(friction=True))

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        host, qpos = scene.host, scene.physics.qpos
        limited = host.jnt_limited.astype(bool)
        low, high = (jnp.asarray(limit, qpos.dtype) for limit in host.jnt_range[limited].T)
        angles = jax.random.uniform(key, low.shape, qpos.dtype, low, high)
        return scene.after(qpos.at[host.jnt_qposadr[limited]].set(angles), _SETTLING)

    def _observe(self, view: View) -> Float[Array, "17"]:
        return jnp.concatenate([view.qpos[1:], view.qvel])

    def _reward(self, view: View) -> Float[Array, ""]:
        task, goal_speed = self.task, _RUN_SPEEDS.get(self.task, 0.0)
        speed, torso = view.sensor("torso_subtreelinvel")[0], view.height("torso")
        front, back = view.height("ffoot"), view.height("bfoot")

        def stand(foot: Array) -> Array:
            high = tolerance((torso + foot) / 2, (_HIGH, INF), _HIGH / 2)
            return (5 * high + tolerance(speed)) / 6

        def up(foot: Array) -> Array:
            return (3 * tolerance(foot, (_HIGH, INF), _HIGH / 2) + 2 * tolerance(torso, (_HIGH, INF), _HIGH / 2)) / 5

        def fast(speed: Array) -> Array:
            return tolerance(speed, (goal_speed, INF), goal_speed, 0.0, "linear")

        def low(height: Array) -> Array:
            return tolerance(height, (-INF, _LOW), _LOW, 0.0, "linear")

        if task in ("run", "run-backward"):
            return fast(speed if task == "run" else -speed)
        if task in ("run-front", "run-back"):
            return up(back if task == "run-front" else front) * (5 * fast(speed) + 1) / 6
        if task in ("stand-front", "stand-back"):
            return stand(back if task == "stand-front" else front)
        if task == "jump":
            return (stand(back) + stand(front)) / 2
        if task == "lie-down":
            return (3 * low(torso) + low((front + back) / 2)) / 4
        if task == "legs-up":
            return (5 * tolerance(torso, (-INF, _LOW), _LOW / 2) + up(back)) / 6
        sign = 1.0 if task == "flip" else -1.0
        spin = tolerance(sign * view.spin("torso"), (_SPIN, INF), _SPIN, 0.0, "linear")
        return (2 * spin + tolerance(sign * speed, (0.0, INF))) / 3

    def _extras(self, view: View) -> dict[str, Array]:
        return {
            "speed": view.sensor("torso_subtreelinvel")[0],
            "torso_height": view.height("torso"),
            "bfoot_height": view.height("bfoot"),
            "ffoot_height": view.height("ffoot"),
            "angmomentum": view.spin("torso"),
        }
