"""MountainCar: an underpowered car swings up a hill; `swm/MountainCarControl-v0` pushes it with a fixed force.

Source: reference: envs/gymnasium_control/mountain_car.py; Gymnasium: classic_control/mountain_car.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from envs_mjx.classic import gfx
from envs_mjx.classic.base import ControlEnv, ControlPhysics, Physical
from envs_mjx.classic.disc import draw_disc
from envs_mjx.classic.track import height, track_picture

MIN_POSITION, MAX_POSITION = -1.2, 0.6
MAX_SPEED = 0.07
_WHEEL, _FLAG = (128, 128, 128), (204, 204, 0)
# Sizes in px, and px per unit of length.
_CAR_WIDTH, _CAR_HEIGHT, _CLEARANCE, _WHEEL_RADIUS = 40, 20, 10, 8
_SCALE = 600 / (MAX_POSITION - MIN_POSITION)


@dataclass(frozen=True)
class MountainCarBase(ControlEnv):
    """The car and its track, whatever drives the car."""

    goal_position: ClassVar[float]

    state_names = ("position", "velocity")
    # A speed counts little, since the way to the top leads through high ones.
    scales = (1.0, 10 * MAX_SPEED)
    start_low, start_high = -0.6, -0.4
    observation_low = (MIN_POSITION, -MAX_SPEED)
    observation_high = (MAX_POSITION, MAX_SPEED)
    visual = (
        ("bg", 0.6, 1.0, gfx.WHITE),
        ("fg", 0.0, 0.4, gfx.BLACK),
    )
    swap_order = ("bg", "fg")

    def _first(self, key: Key[Array, ""], options: Mapping[str, Any], dtype: Any) -> Float[Array, "2"]:
        """At rest, at a position between `low` and `high`."""
        position = jax.random.uniform(key, (), dtype, *self._start_bounds(options))
        return jnp.stack([position, jnp.zeros((), dtype)])

    def _draw(self, physics: ControlPhysics, factors: Physical) -> UInt32[Array, "400 600"]:
        position = physics.vector[0]
        tilt = jnp.cos(3 * position)
        middle = jnp.stack([(position - MIN_POSITION) * _SCALE, _CLEARANCE + height(position, jnp) * _SCALE])

        picture = jnp.asarray(track_picture(MIN_POSITION, MAX_POSITION, _SCALE))
        car = gfx.rectangle(-_CAR_WIDTH / 2, _CAR_WIDTH / 2, _CAR_HEIGHT, 0.0, tilt.dtype)
        picture = gfx.draw_polygon(picture, gfx.rotated(car, tilt) + middle[None], gfx.BLACK, (48, 48))
        wheels = gfx.rotated([(_CAR_WIDTH / 4, 0.0), (-_CAR_WIDTH / 4, 0.0)], tilt) + middle[None]
        for wheel in gfx.to_pixels(wheels):
            picture = draw_disc(picture, wheel, _WHEEL_RADIUS, _WHEEL, _WHEEL_RADIUS)

        x, foot = int((self.goal_position - MIN_POSITION) * _SCALE), int(height(self.goal_position, math) * _SCALE)
        top = foot + 50
        picture = picture.at[foot : top + 1, x].set(gfx.packed(gfx.BLACK))
        flag = jnp.asarray([(x, top), (x, top - 10), (x + 25, top - 5)], tilt.dtype)
        return gfx.draw_polygon(picture, flag, _FLAG, (16, 32))


@dataclass(frozen=True)
class MountainCarControl(MountainCarBase):
    """Drive a car out of a valley with a force that is too small to climb directly.

    The state vector is the position, -1.2 to 0.6, and the velocity, -0.07 to 0.07 per step; it is also the observation.
    Action 0 pushes to the left, 1 not at all, 2 to the right. The reward is -1 for every step; the episode ends at
    position 0.5 unless the car rolls back there. The default goal is to rest at position 0.5.
    """

    time_limit = 200
    goal_position = 0.5
    natural_goal = (goal_position, 0.0)
    physical = (
        ("gravity", 0.00125, 0.0025, 0.00375),
        ("force", 0.0005, 0.001, 0.0015),
        ("max_speed", 0.035, 0.07, 0.105),
    )

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Push to the left, not at all, or to the right."""
        return gymnasium.spaces.Discrete(3)

    def _ended(self, vector: Float[Array, "2"]) -> Bool[Array, ""]:
        return (vector[0] >= self.goal_position) & (vector[1] >= 0)

    def _move(
        self, physics: ControlPhysics, action: Int[Array, ""], factors: Physical
    ) -> tuple[ControlPhysics, Float[Array, ""]]:
        position, velocity = physics.vector
        push = (action - 1).astype(velocity.dtype) * factors["force"]
        velocity = velocity + (push - jnp.cos(3 * position) * factors["gravity"])
        velocity = jnp.clip(velocity, -factors["max_speed"], factors["max_speed"])
        position = jnp.clip(position + velocity, MIN_POSITION, MAX_POSITION)
        velocity = jnp.where((position == MIN_POSITION) & (velocity < 0), 0.0, velocity)
        vector = jnp.stack([position, velocity])
        return ControlPhysics(vector=vector, memory=physics.memory), jnp.full((), -1.0, vector.dtype)

    def _steer(self, vector: Float[Array, "2"], factors: Physical) -> Int[Array, ""]:
        """Push to where the car goes."""
        return jnp.where(vector[1] >= 0, 2, 0).astype(jnp.int32)
