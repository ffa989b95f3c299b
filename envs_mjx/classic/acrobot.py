"""Acrobot, `swm/AcrobotControl-v1`: swing a double pendulum up with a motor at its elbow.

Source: reference: envs/gymnasium_control/acrobot.py; Gymnasium: classic_control/acrobot.py (the equations of the book).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from envs_mjx.classic import gfx
from envs_mjx.classic.base import ControlEnv, ControlPhysics, Physical
from envs_mjx.classic.disc import draw_disc

_STEP = 0.2
_GRAVITY = 9.8
_MAX_SPEEDS = (4 * math.pi, 9 * math.pi)
_LINK, _JOINT = (0, 204, 204), (204, 204, 0)
# Sizes in px at the factors' bounds: the longest link beside the shortest, and the joint between the shortest ones.
_LINK_EXTENT = 192
_MAX_JOINT = 20


@dataclass(frozen=True)
class AcrobotControl(ControlEnv):
    """Swing the lower end of two links above the bar.

    The state vector is the angle of the first link from hanging straight down and of the second relative to the first
    (rad, -pi to pi), and their angular velocities (rad/s, at most 4 pi and 9 pi). The observation is the cosine and the
    sine of either angle and both angular velocities. Actions 0, 1, 2 are torques of -1, 0, 1 N m at the elbow. The
    reward is -1 for every step and 0 for the terminal one. The episode ends when the lower end would be a unit above
    the upper joint if both links had length 1, whatever the factors say. The default goal is to stand upright.
    """

    time_limit = 500
    state_names = ("theta1", "theta2", "theta1_dot", "theta2_dot")
    scales = (1.0, 1.0, *_MAX_SPEEDS)
    angles = (0, 1)
    start_low, start_high = -0.1, 0.1
    natural_goal = (math.pi, 0.0, 0.0, 0.0)
    observation_low = (-1.0, -1.0, -1.0, -1.0, -_MAX_SPEEDS[0], -_MAX_SPEEDS[1])
    observation_high = (1.0, 1.0, 1.0, 1.0, *_MAX_SPEEDS)
    physical = (
        ("link_length_1", 0.5, 1.0, 1.5),
        ("link_length_2", 0.5, 1.0, 1.5),
        ("link_mass_1", 0.5, 1.0, 1.5),
        ("link_mass_2", 0.5, 1.0, 1.5),
        ("link_com_pos_1", 0.25, 0.5, 0.75),
        ("link_com_pos_2", 0.25, 0.5, 0.75),
        ("link_moi", 0.5, 1.0, 1.5),
    )
    visual = (
        ("bg", 0.6, 1.0, gfx.WHITE),
        ("line", 0.0, 0.4, gfx.BLACK),
        ("link", 0.0, 1.0, _LINK),
        ("joint", 0.0, 1.0, _JOINT),
    )
    swap_order = ("bg", "link", "joint", "line")

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Torque of -1, 0 or 1."""
        return gymnasium.spaces.Discrete(3)

    def _first(self, key: Key[Array, ""], options: Mapping[str, Any], dtype: Any) -> Float[Array, "4"]:
        """Every entry uniform between `low` and `high`, rounded to float32."""
        return super()._first(key, options, dtype).astype(jnp.float32).astype(dtype)

    def _observe(self, vector: Float[Array, "4"]) -> Float[Array, "6"]:
        cos, sin = jnp.cos(vector[:2]), jnp.sin(vector[:2])
        return jnp.concatenate([jnp.stack([cos, sin], axis=1).reshape(4), vector[2:]])

    def _recognise(self, observation: Float[Array, "6"]) -> Float[Array, "4"]:
        turned = observation[:4].reshape(2, 2)
        return jnp.concatenate([jnp.arctan2(turned[:, 1], turned[:, 0]), observation[4:]])

    def _ended(self, vector: Float[Array, "4"]) -> Bool[Array, ""]:
        return -jnp.cos(vector[0]) - jnp.cos(vector[1] + vector[0]) > 1.0

    def _move(
        self, physics: ControlPhysics, action: Int[Array, ""], factors: Physical
    ) -> tuple[ControlPhysics, Float[Array, ""]]:
        before = physics.vector
        torque = (action - 1).astype(before.dtype)
        k1 = _rates(before, torque, factors)
        k2 = _rates(before + _STEP / 2 * k1, torque, factors)
        k3 = _rates(before + _STEP / 2 * k2, torque, factors)
        k4 = _rates(before + _STEP * k3, torque, factors)
        after = before + _STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        limits = jnp.asarray(_MAX_SPEEDS, after.dtype)
        vector = jnp.concatenate([_wrapped(after[:2]), jnp.clip(after[2:], -limits, limits)])
        reward = jnp.where(self._ended(vector), 0.0, -1.0).astype(vector.dtype)
        return ControlPhysics(vector=vector, memory=physics.memory), reward

    def _steer(self, vector: Float[Array, "4"], factors: Physical) -> Int[Array, ""]:
        """Push the second link to where it swings, less the first."""
        return jnp.where(vector[3] - 0.5 * vector[2] > 0, 2, 0).astype(jnp.int32)

    def _draw(self, physics: ControlPhysics, factors: Physical) -> UInt32[Array, "500 500"]:
        angle1, angle2 = physics.vector[0], physics.vector[1]
        length1, length2 = factors["link_length_1"], factors["link_length_2"]
        scale = 500 / ((length1 + length2 + 0.2) * 2)
        middle = jnp.full((), 250.0, scale.dtype)

        picture = gfx.blank(500, 500)
        y, left, right = gfx.to_pixels(jnp.stack([scale, -2.2 * scale, 2.2 * scale]) + middle)
        row, column = jnp.arange(500)[:, None], jnp.arange(500)[None, :]
        line = (row == y) & (column >= left) & (column <= right)
        picture = jnp.where(line, gfx.packed(gfx.BLACK), picture)

        elbow = jnp.stack([length1 * jnp.sin(angle1), -length1 * jnp.cos(angle1)]) * scale
        radius = gfx.to_pixels(0.1 * scale)
        for joint, angle, length in (
            (jnp.zeros_like(elbow), angle1, length1),
            (elbow, angle1 + angle2, length2),
        ):
            joint = joint + middle
            link = gfx.rectangle(0.0, length * scale, 0.1 * scale, -0.1 * scale, scale.dtype)
            link = gfx.rotated(link, angle - math.pi / 2) + joint[None]
            picture = gfx.draw_polygon(picture, link, _LINK, (_LINK_EXTENT, _LINK_EXTENT))
            picture = draw_disc(picture, gfx.to_pixels(joint), radius, _JOINT, _MAX_JOINT)
        return picture


def _rates(vector: Float[Array, "4"], torque: Float[Array, ""], factors: Physical) -> Float[Array, "4"]:
    """Time derivative of the state vector."""
    angle1, angle2, speed1, speed2 = vector
    length, com1, com2 = factors["link_length_1"], factors["link_com_pos_1"], factors["link_com_pos_2"]
    mass1, mass2, inertia = factors["link_mass_1"], factors["link_mass_2"], factors["link_moi"]
    cos2, sin2 = jnp.cos(angle2), jnp.sin(angle2)
    coupling = mass2 * length * com2
    d1 = mass1 * com1**2 + mass2 * (length**2 + com2**2 + 2 * length * com2 * cos2) + inertia + inertia
    d2 = mass2 * (com2**2 + length * com2 * cos2) + inertia
    phi2 = mass2 * com2 * _GRAVITY * jnp.cos(angle1 + angle2 - math.pi / 2)
    phi1 = (
        -coupling * speed2**2 * sin2
        - 2 * coupling * speed2 * speed1 * sin2
        + (mass1 * com1 + mass2 * length) * _GRAVITY * jnp.cos(angle1 - math.pi / 2)
        + phi2
    )
    acceleration2 = (torque + d2 / d1 * phi1 - coupling * speed1**2 * sin2 - phi2) / (
        mass2 * com2**2 + inertia - d2**2 / d1
    )
    acceleration1 = -(d2 * acceleration2 + phi1) / d1
    return jnp.stack([speed1, speed2, acceleration1, acceleration2])


def _wrapped(angles: Float[Array, "2"]) -> Float[Array, "2"]:
    """Angles moved by whole turns into -pi to pi, both included."""
    turns = jnp.maximum(jnp.ceil((jnp.abs(angles) - math.pi) / (2 * math.pi)), 0)
    return angles - jax.lax.stop_gradient(jnp.sign(angles) * turns) * (2 * math.pi)
