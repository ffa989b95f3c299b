"""Manipulator, `swm/ManipulatorDMControl-v0`: a planar arm with a gripper brings a ball to a target.

Source: reference: envs/dmcontrol/manipulator.py; dm_control: suite/manipulator.py.
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
from envs_mjx.mujoco.suite.marks import Mark
from envs_mjx.mujoco.view import View

_LEFT_OUT = ("cup", "peg", "target_peg", "slot")
_ARM = ("arm_root", "arm_shoulder", "arm_elbow", "arm_wrist", "finger", "fingertip", "thumb", "thumbtip")
_BALL = ("ball_x", "ball_z", "ball_y")
_TOUCH = ("palm_touch", "finger_touch", "thumb_touch", "fingertip_touch", "thumbtip_touch")
_IN_HAND = 0.1
_AT_TARGET = 0.1
_CLOSE = 0.01
_DEGREE = 3
_MASS_AND_INERTIA = np.asarray((0, 4, 5, 6))
"""Where mass and inertia are among the moments of a body."""


@dataclass(frozen=True)
class ManipulatorDMControl(SuiteEnv):
    """Bring a ball to a target with an arm of four joints and a gripper.

    The observation is sine and cosine of the arm's eight joint angles and their velocities, the logarithms of one plus
    five touch forces (N), position (x, z) and orientation (quaternion's w and y) of hand, ball and target, and the
    ball's three velocities, between those of ball and target. The reward of a control step is 1 within 1 cm of the
    target. Truncated after 500 steps. The target vector is position (m) and quaternion of the target.

    Starts at random angles with the ball in the hand or at the target (one episode in ten each) or anywhere, moving
    sideways, always at a place where nothing touches. The target is drawn once, where the suite draws it anew with
    every try; since it touches nothing, this matters only to balls at targets inside the arm.

    Inert, as in the reference: `agent.upper_arm_length`. With `fixed`, it is the length of the upper arm in thousandths
    of the suite's, 500 to 1500; the arm's mass follows.
    """

    domain = "manipulator"
    inert = ("agent.upper_arm_length",)
    tasks = ("bring_ball",)
    time_limit = 500
    substeps = 10
    target_size = 7
    masses = (
        MassFactor("agent.upper_arm_density", ("upper_arm",)),
        MassFactor("agent.hand_density", ("hand",)),
    )
    mark = Mark("geom", material="target", size=(0.015, 0.015, 0.015), name="target_ball")

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        agent = {name: factors.density() for name in ("upper_arm_density", "hand_density", "upper_arm_length")}
        return factors.domain_space(
            agent, floor=factors.floor(), target=factors.target(), rendering=factors.rendering()
        )

    def _edit(self, spec: mujoco.MjSpec) -> None:
        for name in _LEFT_OUT:
            spec.delete(spec.body(name))

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        if not self.fixed:
            return {}
        host, dtype = self.compiled.host, model.geom_size.dtype
        arm, body, below = host.geom("upper_arm"), host.body("upper_arm").id, host.body("middle_arm").id
        times = _lengthened(factors, dtype)
        half = times * arm.size[1]
        return {
            "geom_size": model.geom_size.at[arm.id, 1].set(half),
            "geom_pos": model.geom_pos.at[arm.id].multiply(times),
            "geom_rbound": model.geom_rbound.at[arm.id].set(half + arm.size[0]),
            "geom_aabb": model.geom_aabb.at[arm.id, 5].set(half + arm.size[0]),
            "body_pos": model.body_pos.at[below].multiply(times),
            "body_ipos": model.body_ipos.at[body].multiply(times),
        }

    def _vary_moments(
        self, moments: Float[Array, "nbody 10"], factors: Mapping[str, Array]
    ) -> Float[Array, "nbody 10"]:
        """The upper arm is a capsule, whose inertia is a polynomial of the third degree in its length."""
        if not self.fixed:
            return moments
        body, dtype = self.compiled.host.body("upper_arm").id, moments.dtype
        powers = _lengthened(factors, dtype) ** jnp.arange(_DEGREE + 1, dtype=dtype)
        nominal, longer = jnp.asarray(self._arm_moments, dtype), jnp.dot(powers, jnp.asarray(self._arm_moments, dtype))
        return moments.at[body, _MASS_AND_INERTIA].multiply(longer / nominal.sum(0))

    @cached_property
    def _arm_moments(self) -> Float[np.ndarray, "4 4"]:
        """Coefficients of mass and inertia of the upper arm, in powers of its length; asked of MuJoCo's compiler."""
        found, lengths = [], np.linspace(0.5, 1.5, _DEGREE + 1)
        for length in lengths:
            spec = self._spec()
            spec.geom("upper_arm").fromto[5] *= length
            body = spec.compile().body("upper_arm")
            found.append([*body.mass, *body.inertia])
        return np.linalg.solve(np.vander(lengths, increasing=True), found)

    def _draw_target(self, key: Key[Array, ""], dtype: np.dtype) -> Float[Array, "7"]:
        x_key, z_key, angle_key = jax.random.split(key, 3)
        x = jax.random.uniform(x_key, (), dtype, -0.4, 0.4)
        z = jax.random.uniform(z_key, (), dtype, 0.1, 0.4)
        half = jax.random.uniform(angle_key, (), dtype, -math.pi, math.pi) / 2
        zero = jnp.zeros((), dtype)
        return jnp.stack([x, jnp.asarray(0.001, dtype), z, jnp.cos(half), zero, jnp.sin(half), zero])

    def _aim(self, model: ModelFields, target: Float[Array, "7"]) -> dict[str, Array]:
        body = self.compiled.host.body("target_ball").id
        return {
            "body_pos": model.body_pos.at[body].set(target[:3]),
            "body_quat": model.body_quat.at[body].set(target[3:]),
        }

    def _paint(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray], target: np.ndarray) -> None:
        """The target is a body."""
        super()._paint(model, factors, target)
        model.body("target_ball").pos[:], model.body("target_ball").quat[:] = target[:3], target[3:]

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        host, target = scene.host, scene.physics.target
        at = {name: host.joint(name).qposadr[0] for name in (*_ARM, *_BALL)}
        ball = jnp.asarray([at[name] for name in _BALL])

        def propose(key: Array, speed: Array) -> tuple[Float[Array, " nq"], Array]:
            arm_key, kind_key, place_key, speed_key = jax.random.split(key, 4)
            qpos = scene.physics.qpos
            drawn = scene.random_joints(arm_key)
            arm = jnp.asarray([at[name] for name in _ARM])
            qpos = qpos.at[arm].set(drawn[arm])
            qpos = qpos.at[at["finger"]].set(qpos[at["thumb"]])
            grasp, axes = scene.site(qpos, "grasp")
            held = jnp.stack([grasp[0], grasp[2], math.pi - jnp.arctan2(axes[2, 0], axes[0, 0])])
            placed = jnp.stack([target[0], target[2], 2 * jnp.arctan2(target[5], target[3])])
            low, high = (jnp.asarray(limits, qpos.dtype) for limits in ((-0.5, 0.0, 0.0), (0.5, 0.7, 2 * math.pi)))
            anywhere = jax.random.uniform(place_key, (3,), qpos.dtype, low, high)
            kind = jax.random.uniform(kind_key, (), qpos.dtype)
            there = jnp.where(kind < _IN_HAND, held, jnp.where(kind < _IN_HAND + _AT_TARGET, placed, anywhere))
            # The suite forgets to take the speed of an earlier try away from a ball in the hand or at the target.
            drawn_speed = jax.random.uniform(speed_key, (), qpos.dtype, -5.0, 5.0)
            speed = jnp.where(kind < _IN_HAND + _AT_TARGET, speed, drawn_speed)
            return qpos.at[ball].set(there), speed

        qpos, speed = scene.free_after(key, propose, jnp.zeros((), scene.physics.qpos.dtype))
        return qpos, scene.physics.qvel.at[host.joint("ball_x").dofadr[0]].set(speed)

    def _pose(self, view: View, name: str) -> Float[Array, "4"]:
        quat = view.data.xquat[view.host.body(name).id]
        return jnp.concatenate([view.body(name)[::2], quat[::2]])

    def _observe(self, view: View) -> Float[Array, "44"]:
        angles = jnp.stack([view.joint(name) for name in _ARM])
        return jnp.concatenate(
            [
                jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=1).reshape(-1),
                jnp.stack([view.joint_speed(name) for name in _ARM]),
                jnp.log1p(view.sensor(*_TOUCH)),
                self._pose(view, "hand"),
                self._pose(view, "ball"),
                jnp.stack([view.joint_speed(name) for name in _BALL]),
                self._pose(view, "target_ball"),
            ]
        )

    def _reward(self, view: View) -> Float[Array, ""]:
        away = jnp.linalg.norm(view.site("ball") - view.site("target_ball"))
        return tolerance(away, (0.0, _CLOSE), 2 * _CLOSE)


def _lengthened(factors: Mapping[str, Array], dtype: np.dtype) -> Float[Array, ""]:
    """Length of the upper arm, in lengths of the suite's."""
    return factors["agent.upper_arm_length"][0].astype(dtype) / 1000
