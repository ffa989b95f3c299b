"""MountainCarContinuous, `swm/MountainCarContinuousControl-v0`: the car of MountainCar with an engine of any power.

Source: reference: envs/gymnasium_control/mountain_car.py; Gymnasium: classic_control/continuous_mountain_car.py.
"""

from dataclasses import dataclass

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from envs_mjx.classic.base import ControlPhysics, Physical
from envs_mjx.classic.mountain_car import MAX_POSITION, MIN_POSITION, MountainCarBase

_GRAVITY = 0.0025


@dataclass(frozen=True)
class MountainCarContinuousControl(MountainCarBase):
    """Drive a car out of a valley with an engine that is too weak to climb directly.

    The state vector is the position, -1.2 to 0.6, and the velocity, -0.07 to 0.07 per step; it is also the observation.
    The action is the engine's power, clipped to -1 and 1. The reward is 100 at the end, less a tenth of the squared
    action, which is not clipped for that. The episode ends at position 0.45 unless the car rolls back there. The
    default goal is to rest at position 0.45. Gravity is fixed, as in the reference.

    As in Gymnasium the state is rounded to float32 after every step, with x64 too, and NumPy's rules decide what is
    float32 within a step: with float32 actions everything but the first step. Gradients see through the rounding.
    """

    time_limit = 999
    goal_position = 0.45
    natural_goal = (goal_position, 0.0)
    physical = (
        ("power", 0.00075, 0.0015, 0.00225),
        ("max_speed", 0.035, 0.07, 0.105),
    )

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Power of the engine."""
        return gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def _ended(self, vector: Float[Array, "2"]) -> Bool[Array, ""]:
        return (_single(vector[0]) >= np.float32(self.goal_position)) & (vector[1] >= 0)

    def _move(
        self, physics: ControlPhysics, action: Float[Array, "1"], factors: Physical
    ) -> tuple[ControlPhysics, Float[Array, ""]]:
        dtype = physics.vector.dtype
        position, velocity = physics.vector
        # A state that is not float32 is that of a reset.
        single_state = (_single(physics.vector) == physics.vector).all()
        single_action = action.dtype == jnp.float32
        power = action[0].astype(dtype)

        push = jnp.clip(power, -1.0, 1.0) * factors["power"]
        triple = jnp.where(single_state, _single(3 * position), 3 * position)
        slope = _GRAVITY * jnp.cos(triple)
        gain = push - slope
        if single_action:
            # A clipped action is a Python number, which stays float64 until it meets the velocity.
            gain = jnp.where(jnp.abs(power) > 1, gain, _single(_single(push) - _single(slope)))
            rounds = single_state
        else:
            rounds = single_state & (jnp.abs(power) > 1)
        gain = jnp.where(rounds, _single(gain), gain)
        velocity = jnp.where(rounds, _single(velocity + gain), velocity + gain)
        velocity = jnp.clip(velocity, -factors["max_speed"], factors["max_speed"])
        position = jnp.where(rounds, _single(position + velocity), position + velocity)
        position = jnp.clip(position, MIN_POSITION, MAX_POSITION)
        velocity = jnp.where((position == MIN_POSITION) & (velocity < 0), 0.0, velocity)
        vector = _single(jnp.stack([position, velocity]))

        reward = jnp.where(self._ended(vector), 100.0, 0.0).astype(dtype) - 0.1 * power**2
        return ControlPhysics(vector=vector, memory=physics.memory), reward

    def _steer(self, vector: Float[Array, "2"], factors: Physical) -> Float[Array, "1"]:
        """Push to where the car goes."""
        return jnp.where(vector[1:] >= 0, 1.0, -1.0).astype(jnp.float32)


def _single(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Values rounded to float32, in the type that they have."""
    return jax.lax.reduce_precision(values, exponent_bits=8, mantissa_bits=23)
