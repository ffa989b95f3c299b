"""TwoRoom's dynamics: the agent steps at its speed, outer walls clamp it, and the wall between the rooms stops it.

Positions are float32 and every operation comes in the reference's order, so that recorded trajectories are met to
the bit.

Source: reference: envs/two_room/env.py (`step`, `_apply_collisions`); the swept rule is our own.
"""

from collections.abc import Mapping

import chex
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from envs_mjx.planar.arena import BORDER, SIZE
from envs_mjx.tworoom.factors import MAX_DOORS, WALL_CENTER

_DOOR_MARGIN = 1.75
_PUSH_BACK = 0.5


@chex.dataclass(frozen=True)
class Wall:
    """The wall between the rooms as the agent's centre meets it, in px; `across` and `along` are its two axes.

    Attributes:
        vertical: whether `across` is x.
        half: half of the thickness.
        radius: radius of the agent.
        low: where each door's opening begins along the wall.
        high: where it ends, inclusive.
        used: which doors there are.
    """

    vertical: Bool[Array, ""]
    half: Float[Array, ""]
    radius: Float[Array, ""]
    low: Float[Array, "3"]
    high: Float[Array, "3"]
    used: Bool[Array, "3"]

    def turn(self, pair: Float[Array, "2"]) -> Float[Array, "2"]:
        """From x, y to across, along, and back."""
        return jnp.where(self.vertical, pair, pair[::-1])

    def open_at(self, along: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether a point of the wall lies in a door; the agent's radius does not count."""
        return (self.used & (along >= self.low) & (along <= self.high)).any()


def wall(factors: Mapping[str, Array]) -> Wall:
    """The wall that factors describe."""
    radius = factors["agent.radius"]
    center, size = (factors[name].astype(radius.dtype) for name in ("door.position", "door.size"))
    return Wall(
        vertical=factors["wall.axis"] == 1,
        half=(factors["wall.thickness"] // 2).astype(radius.dtype),
        radius=radius[0],
        low=center - size - _DOOR_MARGIN,
        high=center + size + _DOOR_MARGIN,
        used=jnp.arange(MAX_DOORS) < factors["door.number"],
    )


def move(
    position: Float[Array, "2"], action: Float[Array, "2"], factors: Mapping[str, Array], swept: bool
) -> Float[Array, "2"]:
    """The agent's position after one step.

    Args:
        position: before, x, y in px.
        action: fraction of the speed along x and y; clamped to [-1, 1].
        factors: factors by dotted name.
        swept: whether the whole way counts at the wall between the rooms, not its end alone.
    """
    speed, radius = factors["agent.speed"], factors["agent.radius"]
    # Clamping the product instead of the action is the same, and keeps XLA from fusing product and sum into one
    # operation that rounds once instead of twice.
    reached = position + jnp.clip(action * speed, -speed, speed)
    reached = jnp.clip(reached, BORDER + radius, (SIZE - BORDER) - radius)
    between = wall(factors)
    rule = _swept if swept else _endpoint
    return between.turn(rule(between.turn(position), between.turn(reached), between))


def _endpoint(before: Float[Array, "2"], after: Float[Array, "2"], wall: Wall) -> Float[Array, "2"]:
    """The reference's rule: a step that ends in the wall, outside a door, ends before the wall on the side it began."""
    across, along = after
    first_side = before[0] < WALL_CENTER
    # Differences in this order are exact in float32 near the thresholds, where the reference works in float64.
    offset = across - WALL_CENTER
    enters = jnp.where(first_side, offset + wall.half > -wall.radius, offset - wall.half < wall.radius)
    low_face = (WALL_CENTER - wall.half - _PUSH_BACK) - wall.radius
    high_face = (WALL_CENTER + wall.half + _PUSH_BACK) + wall.radius
    stopped = enters & ~wall.open_at(along)
    return jnp.stack([jnp.where(stopped, jnp.where(first_side, low_face, high_face), across), along])


def _swept(before: Float[Array, "2"], after: Float[Array, "2"], wall: Wall) -> Float[Array, "2"]:
    """The first contact on the way stops the motion into the obstacle; the motion along it goes on.

    The obstacle is the strip that the wall's faces bound at the agent's radius, without the openings of the doors. It
    can be met at a face, from a room, or at a jamb, from within a door; sliding along either meets nothing else. A
    start inside the obstacle is first moved to the face of its side.
    """
    low_face = (WALL_CENTER - wall.half) - wall.radius
    high_face = (WALL_CENTER + wall.half) + wall.radius
    side_face = jnp.where(before[0] < WALL_CENTER, low_face, high_face)
    within = (before[0] > low_face) & (before[0] < high_face)
    start = jnp.where(within & ~wall.open_at(before[1]), side_face, before[0])
    across, along = after - jnp.stack([start, before[1]])

    within = (start > low_face) & (start < high_face)
    forward = across > 0
    near, far = jnp.where(forward, low_face, high_face), jnp.where(forward, high_face, low_face)
    from_low = (start <= low_face) & (after[0] > low_face)
    from_high = (start >= high_face) & (after[0] < high_face)
    crosses = within | from_low | from_high
    pace = jnp.where(across == 0, 1.0, across)
    entry = before[1] + along * jnp.where(within, 0.0, jnp.clip((near - start) / pace, 0.0, 1.0))
    leave = before[1] + along * jnp.where(across == 0, 1.0, jnp.clip((far - start) / pace, 0.0, 1.0))
    low, high = _opening(entry, wall)
    hits_face = crosses & ~wall.open_at(entry)
    hits_jamb = crosses & ~hits_face & ((leave < low) | (leave > high))
    return jnp.stack(
        [
            jnp.where(hits_face, near, after[0]),
            jnp.where(hits_jamb, jnp.clip(after[1], low, high), after[1]),
        ]
    )


def _opening(along: Float[Array, ""], wall: Wall) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Ends of the opening around a point, of doors that overlap joined; the point itself where there is no door."""
    low = high = along
    for _ in range(MAX_DOORS):
        touched = wall.used & (wall.low <= high) & (wall.high >= low)
        low = jnp.minimum(low, jnp.where(touched, wall.low, low).min())
        high = jnp.maximum(high, jnp.where(touched, wall.high, high).max())
    return low, high
