"""The expert of TwoRoom: through the nearest door that fits, then to the target.

Source: reference: envs/two_room/expert_policy.py (`ExpertPolicy`).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from envs_mjx.state import State
from envs_mjx.tworoom.factors import DOOR_FIT, WALL_CENTER, fitting_doors

BEHAVIOUR_NOISE = 2.0
"""Standard deviation of the noise of the expert that datasets are collected with.

The reference's policy has no such default; this value gives clipped actions a standard deviation of 0.870, and the
action statistics recorded beside the reference's TwoRoom checkpoint are 0.869.
"""


def expert_action(
    key: Key[Array, ""],
    state: State,
    action_noise: float = 0.0,
    door_fit_margin: float = DOOR_FIT,
    door_reach_tolerance: float = 10.5,
) -> Float[Array, "2"]:
    """A step at full speed towards the target, or towards a door while the target is in the other room.

    The reference's action repetition never takes effect there and is left out.

    Args:
        key: typed key; only noise uses it.
        state: state of a TwoRoom environment.
        action_noise: standard deviation of normal noise on the action, at least 0.
        door_fit_margin: agent radii that the half extent of a usable door measures.
        door_reach_tolerance: distance in px from the door's centre at which the expert turns to the target.

    Returns:
        Action in [-1, 1]; zero at the target.
    """
    agent, target, factors = state.physics, state.goal, state.factors
    room_axis = 1 - factors["wall.axis"]
    doors = door_centers(factors)
    distances = _length(doors - agent[None, :])
    fits = fitting_doors(factors["door.size"], factors, door_fit_margin)
    nearest = jnp.argmin(jnp.where(fits, distances, jnp.inf))
    through = jnp.where(distances[nearest] > door_reach_tolerance, doors[nearest], target)
    # Without a usable door the expert heads for the wall, level with the target.
    level = target.at[room_axis].set(WALL_CENTER)
    waypoint = jnp.where(other_room(agent, target, factors), jnp.where(fits.any(), through, level), target)
    direction = waypoint - agent
    length = _length(direction)
    action = jnp.where(length > 1e-8, direction / jnp.maximum(length, 1e-8), 0.0)
    if action_noise > 0:
        action += action_noise * jax.random.normal(key, (2,), action.dtype)
    return jnp.clip(action, -1.0, 1.0)


def behaviour_action(key: Key[Array, ""], state: State) -> Float[Array, "2"]:
    """The expert with the noise that datasets are collected with: it wanders widely, with a drift to the target."""
    return expert_action(key, state, BEHAVIOUR_NOISE)


def door_centers(factors: Mapping[str, Array]) -> Float[Array, "3 2"]:
    """Centre x, y of every door in px, unused ones included."""
    along = factors["door.position"].astype(factors["agent.radius"].dtype)
    across = jnp.full_like(along, WALL_CENTER)
    vertical = factors["wall.axis"] == 1
    return jnp.stack([jnp.where(vertical, across, along), jnp.where(vertical, along, across)], axis=1)


def other_room(a: Float[Array, "2"], b: Float[Array, "2"], factors: Mapping[str, Array]) -> Bool[Array, ""]:
    """Whether two points lie on different sides of the wall's centre."""
    axis = 1 - factors["wall.axis"]
    return (a[axis] > WALL_CENTER) != (b[axis] > WALL_CENTER)


def _length(vectors: Float[Array, "*batch 2"]) -> Float[Array, "*batch"]:
    return jnp.sqrt((vectors**2).sum(-1))
