"""Piecewise's dynamics: the agent steps at its speed, its zone adds a bias, and the outer walls clamp it.

Positions are float32 and every operation comes in the reference's order, so that recorded trajectories are met to
the bit.

Source: reference: envs/piecewise/piecewise_env.py (`step`, `_get_zone`).
"""

import functools
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from envs_mjx.piecewise.factors import of_zones
from envs_mjx.planar.arena import BORDER, SIZE

_INNER = float(SIZE - 2 * BORDER)


@functools.cache
def _thresholds(grid_n: int) -> np.ndarray:
    """Smallest float32 coordinate of every column but the first, decided in float64 as in the reference."""
    columns = np.arange(1, grid_n)

    def column(coordinate: np.ndarray) -> np.ndarray:
        return (coordinate.astype(float) - BORDER) / _INNER * grid_n

    first = (BORDER + columns * _INNER / grid_n).astype(np.float32)
    while (early := column(first) < columns).any():
        first = np.where(early, np.nextafter(first, np.float32(np.inf)), first)
    while (late := column(before := np.nextafter(first, np.float32(0))) >= columns).any():
        first = np.where(late, before, first)
    return first


def zone(position: Float[Array, "2"], grid_n: int) -> Int[Array, ""]:
    """Index of the zone that a position lies in, row by row; beyond the arena, of the nearest zone.

    Args:
        position: x, y in px.
        grid_n: zones along each side.
    """
    column, row = (position[:, None] >= jnp.asarray(_thresholds(grid_n))[None, :]).sum(1)
    return row * grid_n + column


def move(
    position: Float[Array, "2"], action: Float[Array, "2"], factors: Mapping[str, Array], grid_n: int
) -> Float[Array, "2"]:
    """The agent's position after one step.

    Args:
        position: before, x, y in px; its zone's bias counts for the whole step.
        action: fraction of the speed along x and y; clamped to [-1, 1].
        factors: factors by dotted name.
        grid_n: zones along each side.
    """
    speed, radius = factors["agent.speed"], factors["agent.radius"]
    bias = of_zones(factors, "bias", grid_n)[zone(position, grid_n)]
    # Clamping the product instead of the action is the same, and keeps XLA from fusing product and sum into one
    # operation that rounds once instead of twice.
    reached = position + jnp.clip(action * speed, -speed, speed) + bias
    return jnp.clip(reached, BORDER + radius, (SIZE - BORDER) - radius)
