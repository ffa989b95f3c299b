"""Quadruped, `swm/QuadrupedDMControl-v0`: a four-legged robot with position servos walks or runs.

Source: reference: envs/dmcontrol/quadruped.py; dm_control: suite/quadruped.py.
"""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float, Key

from envs_mjx import spaces
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.rewards import INF, tolerance
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.suite import factors
from envs_mjx.mujoco.suite.locks import LockableEnv
from envs_mjx.mujoco.view import View

_SPEEDS = {"walk": 0.5, "run": 5.0}
_LEFT_OUT = ("wall_px", "wall_py", "wall_nx", "wall_ny", "terrain")
_LIFT = 0.01


@dataclass(frozen=True)
class QuadrupedDMControl(LockableEnv):
    """Walk (0.5 m/s) or run (5 m/s) with a four-legged robot.

    The observation is angles and velocities of the legs' joints, the servos' activations, the torso's velocity in its
    own frame, its uprightness, gyroscope and accelerometer, and the inverse hyperbolic sines of forces and torques at
    the toes. Starts in any orientation, lifted in steps of 1 cm until nothing touches. Truncated after 500 steps.
    Tasks: `walk`, `run`.

    Inert, as in the reference: `floor.friction` (the legs' own is larger) and `agent.knee_back_left_locked`. With
    `fixed`, contacts with the floor have its friction (nominally 1, where the toes' is 1.5) and no other contact has
    more, and `agent.knee_back_left_locked` (then initially 0) locks that knee.
    """

    domain = "quadruped"
    inert = ("agent.knee_back_left_locked", "floor.friction")
    tasks = ("walk", "run")
    time_limit = 500
    substeps = 4
    camera = 2
    lock = ("agent.knee_back_left_locked", "knee_back_left")
    masses = (
        MassFactor("agent.torso_density", ("torso",)),
        MassFactor("agent.foot_back_left_density", ("foot_back_left",)),
    )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {
            "color": factors.color(factors.RED),
            "torso_density": factors.density(),
            "foot_back_left_density": factors.density(),
            "knee_back_left_locked": factors.lock(self.fixed),
        }
        return factors.domain_space(agent, gravity=factors.gravity(), floor=factors.floor(friction=True))

    def _edit(self, spec: mujoco.MjSpec) -> None:
        for name in _LEFT_OUT:
            spec.delete(spec.geom(name))
        spec.delete(spec.body("ball"))
        spec.delete(spec.site("target"))
        for sensor in list(spec.sensors):
            if sensor.type == mujoco.mjtSensor.mjSENS_RANGEFINDER:
                spec.delete(sensor)
        # As far as the robot gets in an episode of the suite.
        spec.geom("floor").size[:2] = 20 * _SPEEDS[self.task]

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        qpos = scene.physics.qpos
        turn = jax.random.normal(key, (4,), qpos.dtype)
        qpos = qpos.at[:7].set(jnp.concatenate([jnp.zeros(3, qpos.dtype), turn / jnp.linalg.norm(turn)]))
        # A plane's gaps grow with the height, and at the reference angles the legs do not touch each other.
        steps = jnp.ceil(jnp.maximum(-scene.gaps(qpos).min(), 0.0) / _LIFT)
        return qpos.at[2].set(steps * _LIFT), scene.physics.qvel

    def _observe(self, view: View) -> Float[Array, "78"]:
        host = view.host
        hinges = host.jnt_type == mujoco.mjtJoint.mjJNT_HINGE
        kinds = mujoco.mjtSensor
        forces = _sensors(host, kinds.mjSENS_FORCE, kinds.mjSENS_TORQUE)
        return jnp.concatenate(
            [
                view.qpos[host.jnt_qposadr[hinges]],
                view.qvel[host.jnt_dofadr[hinges]],
                view.data.act,
                view.sensor("velocimeter"),
                view.frame("torso")[2, 2][None],
                view.sensor(*_sensors(host, kinds.mjSENS_GYRO, kinds.mjSENS_ACCELEROMETER)),
                jnp.arcsinh(view.sensor(*forces)),
            ]
        )

    def _reward(self, view: View) -> Float[Array, ""]:
        wanted = _SPEEDS[self.task]
        upright = tolerance(view.frame("torso")[2, 2], (1.0, INF), 2.0, 0.0, "linear")
        return upright * tolerance(view.sensor("velocimeter")[0], (wanted, INF), wanted, 0.5, "linear")

    def _extras(self, view: View) -> dict[str, Array]:
        return {"torso_velocity": view.sensor("velocimeter")}


def _sensors(host: mujoco.MjModel, *kinds: mujoco.mjtSensor) -> list[str]:
    """Names of the sensors of some kinds, in the model's order."""
    return [host.sensor(int(index)).name for index in np.flatnonzero(np.isin(host.sensor_type, kinds))]
