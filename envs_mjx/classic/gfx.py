"""Pygame's `gfxdraw` primitives on packed pictures, pixel for pixel, as pure JAX.

A picture is an array of words that hold red, green and blue in their three lowest bytes. A primitive touches only a
window of a fixed size around it. How much of its colour a pixel takes is a number from 0 to 256; all arithmetic is on
integers. Coordinates are px, y down.

Source: pygame 2.6 SDL_gfxPrimitives.c, gfxdraw.c and math.c.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

RGB = tuple[int, int, int]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FULL = 256
# Far enough to hold everything visible, near enough for 16 fractional bits in an int32.
_COORDINATE_LIMIT = 4095
_SNAP = 1e-6


def packed(color: Any) -> UInt32[Array, ""]:
    """A colour, three levels from 0 to 255, as one word."""
    red, green, blue = color
    return jnp.asarray(red | green << 8 | blue << 16, jnp.uint32)


def unpack(picture: UInt32[Array, "height width"]) -> UInt8[Array, "height width 3"]:
    """RGB image of a picture."""
    return jax.lax.bitcast_convert_type(picture, jnp.uint8)[..., :3]


def blank(height: int, width: int) -> UInt32[Array, "{height} {width}"]:
    """A white picture."""
    return jnp.full((height, width), packed(WHITE))


def rectangle(left: Any, right: Any, top: Any, bottom: Any, dtype: Any) -> Float[Array, "4 2"]:
    """Corners of a rectangle in the order in which Gymnasium draws them."""
    return jnp.stack([jnp.asarray(end, dtype) for end in (left, bottom, left, top, right, top, right, bottom)]).reshape(
        4, 2
    )


def to_pixels(points: Float[Array, "*dims"]) -> Int[Array, "*dims"]:
    """Coordinates cut off towards zero, as Python's `int` does; far ones are clipped."""
    return jnp.clip(points, -_COORDINATE_LIMIT, _COORDINATE_LIMIT).astype(jnp.int32)


def rotated(points: Any, angle: Float[Array, ""]) -> Float[Array, "P 2"]:
    """Points turned by an angle in rad; within 1e-6 of a quarter turn they turn by that, as pygame's vectors do."""
    quarter = jnp.rint(angle / (math.pi / 2))
    snaps = jnp.abs(angle - quarter * (math.pi / 2)) < _SNAP
    cos = jnp.where(snaps, jnp.rint(jnp.cos(angle)), jnp.cos(angle))
    sin = jnp.where(snaps, jnp.rint(jnp.sin(angle)), jnp.sin(angle))
    points = jnp.asarray(points, angle.dtype)
    x, y = points[:, 0], points[:, 1]
    return jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=1)


def blend(picture: UInt32[Array, "H W"], color: RGB, amount: Int[Array, "H W"]) -> UInt32[Array, "H W"]:
    """Mix a colour over a picture, `under + ((color - under) * amount >> 8)` in each channel, rounded down."""
    amount, over = amount.astype(jnp.uint32), packed(color)
    # Red and blue share a multiplication: blue's sum is never negative, so nothing is borrowed from red.
    mixed = []
    for mask in (0xFF00FF, 0x00FF00):
        under = picture & mask
        mixed.append((under + (((over & mask) - under) * amount >> 8)) & mask)
    return mixed[0] | mixed[1]


def draw_polygon(
    picture: UInt32[Array, "H W"], corners: Float[Array, "V 2"], color: RGB, extent: tuple[int, int]
) -> UInt32[Array, "H W"]:
    """Draw a convex polygon with an anti-aliased outline: `aapolygon`, then `filled_polygon`.

    Args:
        picture: what is drawn on.
        corners: x, y of the corners in order.
        color: of outline and inside.
        extent: most rows and columns that the polygon can cover (static); a larger one is cut off.
    """
    points = to_pixels(corners)
    origin = points.min(0)
    tile, y, x, place = window(picture, origin[1], origin[0], extent)
    height, width = picture.shape
    for i in range(len(points)):
        tile = blend(tile, color, _aaline(points[i], points[(i + 1) % len(points)], (width, height), y, x))
    lo, hi = _spans(points, y)
    tile = jnp.where((x[None, :] >= lo[:, None]) & (x[None, :] <= hi[:, None]), packed(color), tile)
    return place(tile)


def window(picture: UInt32[Array, "H W"], top: Array, left: Array, extent: tuple[int, int]) -> Any:
    """A piece of the picture, its rows and columns, and how to put it back; kept inside the picture."""
    height, width = (min(wanted, size) for wanted, size in zip(extent, picture.shape, strict=True))
    top = jnp.clip(top, 0, picture.shape[0] - height)
    left = jnp.clip(left, 0, picture.shape[1] - width)
    tile = jax.lax.dynamic_slice(picture, (top, left), (height, width))
    rows, columns = top + jnp.arange(height), left + jnp.arange(width)
    return tile, rows, columns, lambda tile: jax.lax.dynamic_update_slice(picture, tile, (top, left))


def _clip(
    start: Int[Array, "2"], end: Int[Array, "2"], size: tuple[int, int]
) -> tuple[Int[Array, "2"], Int[Array, "2"], Bool[Array, ""]]:
    """Ends of the visible part of a line (which swaps them, at times) and whether there is one."""
    last = jnp.asarray(size, jnp.int32) - 1

    def outside(point: Int[Array, "2"]) -> Bool[Array, "2 2"]:
        return jnp.stack([point < 0, point > last])

    # Each round moves one end to one side of the picture, which takes at most four.
    for _ in range(4):
        there, here = outside(start), outside(end)
        hidden = (there & here).any()
        done = hidden | ~(there | here).any()
        swap = ~done & ~there.any()
        start, end = jnp.where(swap, end, start), jnp.where(swap, start, end)
        low, high = outside(start)
        axis = jnp.where(low[0] | high[0], 0, 1)
        target = jnp.where(low[axis], 0, last[axis])
        delta = (end - start).astype(jnp.float32)
        slope = jnp.where(delta[0] != 0, delta[1] / jnp.where(delta[0] != 0, delta[0], 1.0), 1.0)
        way = (target - start[axis]).astype(jnp.float32)
        aside = jnp.where(axis == 0, way * slope, way / jnp.where(slope != 0, slope, 1.0)).astype(jnp.int32)
        # A vertical line moves straight.
        aside = jnp.where((axis == 1) & (delta[0] == 0), 0, aside)
        moved = jnp.where(jnp.arange(2) == axis, target, start + aside)
        start = jnp.where(done, start, moved)
    there, here = outside(start), outside(end)
    return start, end, ~(there | here).any()


def _aaline(
    start: Int[Array, "2"], end: Int[Array, "2"], size: tuple[int, int], y: Int[Array, " H"], x: Int[Array, " W"]
) -> Int[Array, "H W"]:
    """Share of the colour of a line that pixels take; its last point is left out."""
    first, last, visible = _clip(start, end, size)
    swapped = first[1] > last[1]
    top, bottom = jnp.where(swapped, last, first), jnp.where(swapped, first, last)
    dx, dy = bottom[0] - top[0], bottom[1] - top[1]
    direction, dx = jnp.where(dx >= 0, 1, -1), jnp.abs(dx)
    steep = dy > dx
    long, short = jnp.maximum(dx, dy), jnp.minimum(dx, dy)
    straight = short == 0
    rise = (short << 16) // jnp.maximum(long, 1)

    def walk(step: Int[Array, " n"]) -> tuple[Int[Array, " n"], Int[Array, " n"], Int[Array, " n"]]:
        """By steps along the longer axis: how far aside the line is, and the shares of this pixel and the next."""
        aside, weight = step * rise >> 16, (step * rise & 0xFFFF) >> 8
        here, beyond = 255 * (255 - weight) >> 8, 255 * weight >> 8
        inside = (step > 0) & (step < long)
        # The point that the line was asked to start from has the full colour.
        origin = step == jnp.where(swapped, long, 0)
        aside = jnp.where(origin & swapped, short, aside)
        full = (straight & (step >= 0) & (step <= long)) | origin
        here = jnp.where(full, FULL, jnp.where(inside, here, 0))
        return aside, here, jnp.where(inside & ~full, beyond, 0)

    by_row, by_column = walk(y - top[1]), walk((x - top[0]) * direction)
    aside, here, beyond = (
        jnp.where(steep, row[:, None], column[None, :]) for row, column in zip(by_row, by_column, strict=True)
    )
    offset = jnp.where(steep, ((x - top[0]) * direction)[None, :], (y - top[1])[:, None]) - aside
    return jnp.where(visible, jnp.where(offset == 0, here, jnp.where(offset == 1, beyond, 0)), 0)


def _spans(points: Int[Array, "V 2"], y: Int[Array, " H"]) -> tuple[Int[Array, " H"], Int[Array, " H"]]:
    """First and last column that a convex polygon fills on each row."""
    far = 1 << 30
    before = jnp.roll(points, 1, axis=0)
    down = before[:, 1] < points[:, 1]
    upper, lower = (jnp.where(down[:, None], *pair) for pair in ((before, points), (points, before)))
    (x1, y1), (x2, y2) = ((end[:, 0][:, None], end[:, 1][:, None]) for end in (upper, lower))
    row, last = y[None, :], points[:, 1].max()
    crosses = ((row >= y1) & (row < y2)) | ((row == last) & (row > y1) & (row <= y2))
    crossing = ((row - y1) << 16) // jnp.maximum(y2 - y1, 1) * (x2 - x1) + (x1 << 16)
    first = jnp.where(crosses, crossing, far).min(0) + 1
    final = jnp.where(crosses, crossing, -far).max(0) - 1
    first, final = ((edge >> 16) + ((edge & 32768) >> 15) for edge in (first, final))
    hit = crosses.any(0)
    # Pygame turns a reversed span round.
    return jnp.where(hit, jnp.minimum(first, final), far), jnp.where(hit, jnp.maximum(first, final), -far)
