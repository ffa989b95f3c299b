"""Pendulum, `swm/PendulumControl-v1`: swing a rod up with a motor that is too weak to lift it directly.

Source: reference: envs/gymnasium_control/pendulum.py; Gymnasium: classic_control/pendulum.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt32

from envs_mjx.checks import UserError
from envs_mjx.classic import gfx
from envs_mjx.classic.arrow import draw_arrow
from envs_mjx.classic.base import ControlEnv, ControlPhysics, Physical
from envs_mjx.classic.disc import draw_disc

_MAX_SPEED = 8.0
_MAX_TORQUE = 2.0
_ROD = (204, 77, 77)


@dataclass(frozen=True)
class PendulumControl(ControlEnv):
    """Swing a rod up and keep it upright.

    The state vector is the angle from upright (rad, not wrapped) and the angular velocity (rad/s, -8 to 8); the
    observation is the angle's cosine and sine and the angular velocity. The action is the torque (N m), clipped to the
    factor `max_torque`. The reward is minus the squared angle, a tenth of the squared angular velocity and a thousandth
    of the squared torque, before the step. The episode never ends by itself. The default goal is to rest upright.

    The start is uniform between minus and plus `x_init` (pi) for the angle and `y_init` (1) for the angular velocity,
    as in Gymnasium; these options replace `low` and `high`.

    As in Gymnasium, terms of the torque alone are computed in the type of the action, even with x64.
    """

    option_names = ("x_init", "y_init", "state", "goal_state")

    # Memory: the torque last applied, which the picture shows.
    time_limit = 200
    state_names = ("theta", "theta_dot")
    # The weights of the reward.
    scales = (1.0, math.sqrt(10.0))
    angles = (0,)
    natural_goal = (0.0, 0.0)
    observation_low = (-1.0, -1.0, -_MAX_SPEED)
    observation_high = (1.0, 1.0, _MAX_SPEED)
    physical = (
        ("g", 5.0, 10.0, 15.0),
        ("m", 0.5, 1.0, 1.5),
        ("l", 0.5, 1.0, 1.5),
        ("max_torque", 1.0, 2.0, 4.0),
        ("max_speed", 4.0, 8.0, 12.0),
        ("dt", 0.025, 0.05, 0.1),
    )
    visual = (
        ("bg", 0.6, 1.0, gfx.WHITE),
        ("rod", 0.0, 1.0, _ROD),
        ("hub", 0.0, 0.4, gfx.BLACK),
    )
    swap_order = ("bg", "rod", "hub")

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Torque, N m."""
        return gymnasium.spaces.Box(-_MAX_TORQUE, _MAX_TORQUE, (1,), np.float32)

    @property
    def has_success(self) -> bool:
        """No: an episode ends by time."""
        return False

    def _first(self, key: Key[Array, ""], options: Mapping[str, Any], dtype: Any) -> Float[Array, "2"]:
        """Uniform between minus and plus `x_init` and `y_init`."""
        high = []
        for name, default in (("x_init", math.pi), ("y_init", 1.0)):
            value = options.get(name, default)
            if np.shape(value) != ():
                raise UserError(f"option {name} must be a single number, got the shape {np.shape(value)}")
            high.append(jnp.asarray(value, dtype))
        return jax.random.uniform(key, (2,), dtype, -1.0, 1.0) * jnp.stack(high)

    def _observe(self, vector: Float[Array, "2"]) -> Float[Array, "3"]:
        return jnp.stack([jnp.cos(vector[0]), jnp.sin(vector[0]), vector[1]])

    def _recognise(self, observation: Float[Array, "3"]) -> Float[Array, "2"]:
        return jnp.stack([jnp.arctan2(observation[1], observation[0]), observation[2]])

    def _ended(self, vector: Float[Array, "2"]) -> Bool[Array, ""]:
        return jnp.asarray(False)

    def _move(
        self, physics: ControlPhysics, action: Float[Array, "1"], factors: Physical
    ) -> tuple[ControlPhysics, Float[Array, ""]]:
        angle, speed = physics.vector
        dtype = angle.dtype
        limit = factors["max_torque"].astype(action.dtype)
        torque = jnp.clip(action, -limit, limit)[0]
        lift = (3.0 / (factors["m"] * factors["l"] ** 2)).astype(action.dtype) * torque
        effort = (0.001 * torque**2).astype(dtype)

        wrapped = angle - 2 * math.pi * jnp.floor((angle + math.pi) / (2 * math.pi))
        cost = wrapped**2 + 0.1 * speed**2 + effort
        fall = 3 * factors["g"] / (2 * factors["l"]) * jnp.sin(angle)
        speed = speed + (fall + lift.astype(dtype)) * factors["dt"]
        speed = jnp.clip(speed, -factors["max_speed"], factors["max_speed"])
        vector = jnp.stack([angle + speed * factors["dt"], speed])
        return ControlPhysics(vector=vector, memory=torque.astype(dtype)), -cost

    def _steer(self, vector: Float[Array, "2"], factors: Physical) -> Float[Array, "1"]:
        """Swing up until the energy is that of resting upright; near there, hold against the fall."""
        angle, speed = jnp.arctan2(jnp.sin(vector[0]), jnp.cos(vector[0])), vector[1]
        lacking = 1.5 * factors["g"] / factors["l"] * (1 - jnp.cos(angle)) - 0.5 * speed**2
        limit = factors["max_torque"]
        swing = jnp.where(jnp.abs(speed) > 1e-3, jnp.sign(lacking * speed), 1.0) * limit
        hold = -(12 * angle + 3 * speed)
        torque = jnp.where((jnp.abs(angle) < 0.5) & (jnp.abs(speed) < 4), hold, swing)
        return jnp.clip(torque, -limit, limit)[None].astype(jnp.float32)

    def _draw(self, physics: ControlPhysics, factors: Physical) -> UInt32[Array, "500 500"]:
        angle = physics.vector[0] + math.pi / 2
        scale = 500 / 4.4
        half, hub = int(0.1 * scale), int(0.05 * scale)
        middle = jnp.full((2,), 250, jnp.int32)
        rod = gfx.rectangle(0.0, scale, 0.1 * scale, -0.1 * scale, angle.dtype)
        end = gfx.rotated([(scale, 0.0)], angle)[0] + 250
        picture = gfx.draw_polygon(gfx.blank(500, 500), gfx.rotated(rod, angle) + 250, _ROD, (144, 144))
        picture = draw_disc(picture, middle, half, _ROD, half)
        picture = draw_disc(picture, gfx.to_pixels(end), half, _ROD, half)
        picture = draw_arrow(picture, physics.memory, scale)
        return draw_disc(picture, middle, hub, gfx.BLACK, hub)
