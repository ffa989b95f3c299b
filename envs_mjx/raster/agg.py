"""Filled polygons and flat layers as Agg draws them, the rasteriser behind matplotlib's pictures.

Agg puts corners on a grid of 1/256 px, computes the area that covers each pixel, and blends in 8 bits.

Source: Anti-Grain Geometry 2.4 as matplotlib 3.10 configures it (its `fixed_blender_rgba_plain`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

_GRID = 256.0


def polygon_coverage(corners: Float[Array, "corners 2"], height: int, width: int) -> Float[Array, "{height} {width}"]:
    """Area of each pixel of a rectangle that lies inside a simple polygon; negative if it turns counterclockwise.

    Args:
        corners: x, y in px from the rectangle's upper left corner; repeated corners are allowed.
        height: rows.
        width: columns.
    """
    corners = jnp.round(corners * _GRID) / _GRID
    rows, columns = jnp.arange(height, dtype=corners.dtype), jnp.arange(width, dtype=corners.dtype)

    def left_of(start: Array, end: Array) -> Array:
        """Signed area of each pixel between an edge and the pixel's left side."""
        top, bottom = (jnp.clip(y, rows, rows + 1.0) for y in (start[1], end[1]))
        rise = jnp.where(start[1] == end[1], 1.0, end[1] - start[1])
        slope = (end[0] - start[0]) / rise
        first, last = (start[0] + slope * (y - start[1]) for y in (top, bottom))
        share = _mean_of_clipped(first[:, None] - columns[None, :], last[:, None] - columns[None, :])
        return (bottom - top)[:, None] * share

    return jax.vmap(left_of)(corners, jnp.roll(corners, -1, axis=0)).sum(0)


def _mean_of_clipped(first: Float[Array, "H W"], last: Float[Array, "H W"]) -> Float[Array, "H W"]:
    """Mean of a linear function clipped to [0, 1], from its values at the ends."""
    low, high = jnp.minimum(first, last), jnp.maximum(first, last)

    def integral(x: Array) -> Array:
        inside = jnp.clip(x, 0.0, 1.0)
        return 0.5 * inside**2 + jnp.maximum(x - 1.0, 0.0)

    span = high - low
    steep = span > 1e-3
    mean = jnp.where(steep, (integral(high) - integral(low)) / jnp.where(steep, span, 1.0), 0.5 * (low + high))
    return jnp.where(low >= 1.0, 1.0, jnp.where(high <= 0.0, 0.0, jnp.clip(mean, 0.0, 1.0)))


def opacity_bits(coverage: Float[Array, "*shape"], opacity: int) -> Int[Array, "*shape"]:
    """Opacity 0 to 255 of partly covered pixels.

    Args:
        coverage: signed areas from `polygon_coverage`.
        opacity: that of a pixel which is covered fully, 0 to 255.
    """
    # Agg rounds before it drops the sign, so outlines that turn clockwise cover more; the margin is for float32.
    cover = jnp.minimum(jnp.abs(jnp.ceil(coverage * _GRID - 1e-3).astype(jnp.int32)), 255)
    product = cover * opacity + 128
    return (product + (product >> 8)) >> 8


def blend(image: UInt8[Array, "H W 3"], color: UInt8[Array, "3"], opacity: Int[Array, "H W"]) -> UInt8[Array, "H W 3"]:
    """Lay a colour over an opaque picture.

    Args:
        image: RGB.
        color: RGB.
        opacity: 0 to 255.
    """
    alpha = opacity[..., None]
    below = image.astype(jnp.int32) * 255
    above = color.astype(jnp.int32)[None, None] << 8
    mixed = ((above - below) * alpha + (below << 8)) // (alpha + 255 * 256)
    # The mixture of 255 parts of 255 would round down; Agg copies instead.
    return jnp.where(alpha == 255, color[None, None], mixed.astype(jnp.uint8))
