"""CartPole, `swm/CartPoleControl-v1`: push a cart left or right so that the pole on it stays upright.

Source: reference: envs/gymnasium_control/cartpole.py; Gymnasium: classic_control/cartpole.py.
"""

import math
from dataclasses import dataclass

import gymnasium
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from envs_mjx.classic import gfx
from envs_mjx.classic.base import ControlEnv, ControlPhysics, Physical
from envs_mjx.classic.disc import draw_disc

_MAX_POSITION = 2.4
_MAX_ANGLE = 12 * 2 * math.pi / 360
_POLE, _AXLE = (202, 152, 101), (129, 132, 203)
# Sizes in px.
_CART_WIDTH, _CART_HEIGHT, _CART_Y = 50, 30, 100
_POLE_WIDTH = 10


@dataclass(frozen=True)
class CartPoleControl(ControlEnv):
    """Balance a pole on a cart.

    The state vector is the cart's position (m) and velocity (m/s), and the pole's angle from upright (rad, clockwise)
    and angular velocity (rad/s); it is also the observation. Action 0 pushes to the left, 1 to the right. The reward is
    1 for every step, the terminal one too; an episode that is carried on after its end gets 0 in ended states. It ends
    when the cart is beyond 2.4 m or the pole beyond 12 degrees. The default goal is the cart at rest in the middle
    under an upright pole.
    """

    # Memory: 1 once the episode has ended.
    time_limit = 500
    state_names = ("x", "x_dot", "theta", "theta_dot")
    scales = (_MAX_POSITION, 3.0, _MAX_ANGLE, 3.0)
    angles = (2,)
    start_low, start_high = -0.05, 0.05
    natural_goal = (0.0, 0.0, 0.0, 0.0)
    observation_low = (-2 * _MAX_POSITION, -math.inf, -2 * _MAX_ANGLE, -math.inf)
    observation_high = (2 * _MAX_POSITION, math.inf, 2 * _MAX_ANGLE, math.inf)
    physical = (
        ("gravity", 4.9, 9.8, 14.7),
        ("masscart", 0.5, 1.0, 1.5),
        ("masspole", 0.05, 0.1, 0.5),
        ("length", 0.25, 0.5, 0.75),
        ("force_mag", 5.0, 10.0, 15.0),
        ("tau", 0.01, 0.02, 0.04),
    )
    visual = (
        ("bg", 0.6, 1.0, gfx.WHITE),
        ("cart", 0.0, 0.4, gfx.BLACK),
        ("pole", 0.0, 1.0, _POLE),
        ("axle", 0.0, 1.0, _AXLE),
    )
    swap_order = ("bg", "cart", "pole", "axle")

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Push to the left or to the right."""
        return gymnasium.spaces.Discrete(2)

    def _ended(self, vector: Float[Array, "4"]) -> Bool[Array, ""]:
        return (jnp.abs(vector[0]) > _MAX_POSITION) | (jnp.abs(vector[2]) > _MAX_ANGLE)

    @property
    def has_success(self) -> bool:
        """No: an episode ends when the pole falls, or by time."""
        return False

    def _solved(self, vector: Float[Array, "4"]) -> Bool[Array, ""]:
        """Never."""
        return jnp.asarray(False)

    def _move(
        self, physics: ControlPhysics, action: Int[Array, ""], factors: Physical
    ) -> tuple[ControlPhysics, Float[Array, ""]]:
        _, velocity, angle, angular_velocity = physics.vector
        total_mass = factors["masspole"] + factors["masscart"]
        lever = factors["masspole"] * factors["length"]
        force = jnp.where(action == 1, factors["force_mag"], -factors["force_mag"])
        cos, sin = jnp.cos(angle), jnp.sin(angle)

        pushed = (force + lever * angular_velocity**2 * sin) / total_mass
        angular_acceleration = (factors["gravity"] * sin - cos * pushed) / (
            factors["length"] * (4.0 / 3.0 - factors["masspole"] * cos**2 / total_mass)
        )
        acceleration = pushed - lever * angular_acceleration * cos / total_mass

        rates = jnp.stack([velocity, acceleration, angular_velocity, angular_acceleration])
        vector = physics.vector + factors["tau"] * rates
        ended = self._ended(vector)
        reward = jnp.where(ended & (physics.memory > 0), 0.0, 1.0).astype(vector.dtype)
        memory = jnp.maximum(physics.memory, ended.astype(vector.dtype))
        return ControlPhysics(vector=vector, memory=memory), reward

    def _steer(self, vector: Float[Array, "4"], factors: Physical) -> Int[Array, ""]:
        """Push to where the pole falls, and a little to the middle."""
        position, velocity, angle, angular_velocity = vector
        return (3 * angle + angular_velocity + 0.1 * position + 0.2 * velocity > 0).astype(jnp.int32)

    def _draw(self, physics: ControlPhysics, factors: Physical) -> UInt32[Array, "400 600"]:
        scale = 600 / (2 * _MAX_POSITION)
        x = physics.vector[0] * scale + 300
        axle = jnp.stack([x, jnp.full((), _CART_Y + _CART_HEIGHT / 4, x.dtype)])
        picture = gfx.blank(400, 600)
        cart = gfx.rectangle(-_CART_WIDTH / 2, _CART_WIDTH / 2, _CART_HEIGHT / 2, -_CART_HEIGHT / 2, x.dtype)
        cart = cart + jnp.stack([x, jnp.full((), _CART_Y, x.dtype)])[None]
        picture = gfx.draw_polygon(picture, cart, gfx.BLACK, (32, 52))
        half = _POLE_WIDTH / 2
        pole = gfx.rectangle(-half, half, scale * 2 * factors["length"] - half, -half, x.dtype)
        pole = gfx.rotated(pole, -physics.vector[2]) + axle[None]
        # The longest pole of the factors, standing or lying, and a little more.
        picture = gfx.draw_polygon(picture, pole, _POLE, (192, 192))
        picture = draw_disc(picture, gfx.to_pixels(axle), int(half), _AXLE, int(half))
        return picture.at[_CART_Y].set(gfx.packed(gfx.BLACK))
