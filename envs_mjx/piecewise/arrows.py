"""Arrows of Piecewise's bias field: filled outlines, anti-aliased by the exact area that covers a pixel.

The reference lets matplotlib draw them. What differs is the last unit of some edges' opacity.

Source: reference: envs/piecewise/piecewise_env.py (`_render_bias_field`); its `quiver` has the defaults of matplotlib
3.10.
"""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from envs_mjx.piecewise.factors import of_zones
from envs_mjx.planar.arena import BORDER, SIZE
from envs_mjx.raster.agg import opacity_bits, polygon_coverage

COLOR = (17, 17, 17)

_OPACITY = 217
_PER_SIDE = 3
_SHAFT = 0.006 * SIZE
# Lengths of an arrow's parts in widths of its shaft.
_HEAD, _HEAD_AXIS, _HALF_HEAD, _HALF_SHAFT = 4.0, 3.5, 2.0, 0.5
_SHORTEST = 0.5
_LONGEST_BIAS = 4.0 * math.sqrt(2.0)


@functools.cache
def _layout(grid_n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Tails [arrows, 2] of the arrows in px, the zone of each, and px per unit of bias."""
    cell = (SIZE - 2 * BORDER) / grid_n
    along = BORDER + cell * (np.arange(grid_n)[:, None] + (np.arange(_PER_SIDE) + 0.5) / _PER_SIDE).ravel()
    tails = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    row, column = np.divmod(np.arange((grid_n * _PER_SIDE) ** 2), grid_n * _PER_SIDE)
    return tails, row // _PER_SIDE * grid_n + column // _PER_SIDE, 0.15 * cell / (5.0 * math.sqrt(2.0))


def bias_field(factors: Mapping[str, Array], grid_n: int) -> Float[Array, "224 224"]:
    """Opacity of the arrows, 3 x 3 in each zone, as long as 15 % of a zone for a bias of 5 along both axes.

    Args:
        factors: factors by dotted name.
        grid_n: zones along each side.
    """
    tails, zones, scale = _layout(grid_n)
    outlines = jax.vmap(_outline)(scale * of_zones(factors, "bias", grid_n))[zones]
    # Every arrow fits into a square around its tail, and no pixel is touched by two.
    reach = math.ceil(max(scale * _LONGEST_BIAS, _SHORTEST * _SHAFT)) + 1
    corners = np.floor(tails).astype(int) - reach
    window = np.arange(2 * reach + 1)
    local = outlines + jnp.asarray(tails - corners, outlines.dtype)[:, None, :]
    covers = jax.vmap(lambda outline: polygon_coverage(outline, window.size, window.size))(local)
    rows, columns = corners[:, 1, None, None] + window[:, None], corners[:, 0, None, None] + window
    opacity = jnp.zeros((SIZE, SIZE), jnp.int32).at[rows, columns].max(opacity_bits(covers, _OPACITY), mode="drop")
    return opacity.astype(outlines.dtype) / 255.0


def _outline(arrow: Float[Array, "2"]) -> Float[Array, "7 2"]:
    """Corners of an arrow from (0, 0), px: a head shorter than 4 shafts shrinks, and what nearly vanishes is a dot."""
    squares = (arrow**2).sum()
    length = jnp.sqrt(squares) / _SHAFT
    direction = jnp.where(squares > 0, arrow / jnp.maximum(length * _SHAFT, 1e-12), jnp.asarray([1.0, 0.0]))
    across = jnp.stack([direction[1], -direction[0]])
    shrink = jnp.minimum(length / _HEAD, 1.0)
    full = jnp.maximum(length, _HEAD)
    x = jnp.stack([jnp.zeros_like(full), full - _HEAD_AXIS, full - _HEAD, full])[jnp.asarray([0, 1, 2, 3, 2, 1, 0])]
    y = jnp.asarray([_HALF_SHAFT, _HALF_SHAFT, _HALF_HEAD, 0.0, -_HALF_HEAD, -_HALF_SHAFT, -_HALF_SHAFT], x.dtype)
    angles = jnp.arange(7, dtype=x.dtype) * (math.pi / 3.0)
    dotted = length < _SHORTEST
    x = jnp.where(dotted, _SHORTEST / 2 * jnp.cos(angles), shrink * x) * _SHAFT
    y = jnp.where(dotted, _SHORTEST / 2 * jnp.sin(angles), shrink * y) * _SHAFT
    return x[:, None] * direction[None, :] + y[:, None] * across[None, :]
