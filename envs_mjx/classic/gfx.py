"""Pygame's `gfxdraw` primitives on packed pictures, pixel for pixel, as pure JAX.

A picture is an array of words that hold red, green and blue in their three lowest bytes. A primitive touches only a
window of a fixed size around it. How much of its colour a pixel takes is a number from 0 to 256; all arithmetic is on
integers. Coordinates are px, y down.

Source: pygame 2.6 SDL_gfxPrimitives.c, gfxdraw.c and math.c.
"""

import math
from typing import Any

import chex
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
    lines = jax.vmap(lambda start, end: _aaline(start, end, (width, height), y, x))(
        points, jnp.roll(points, -1, axis=0)
    )
    tile, _ = jax.lax.scan(lambda tile, line: (blend(tile, color, _shares(line)), None), tile, lines)
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

    def move(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        start, end = ends
        there, here = outside(start), outside(end)
        done = (there & here).any() | ~(there | here).any()
        swap = ~done & ~there.any()
        start, end = jnp.where(swap, end, start), jnp.where(swap, start, end)
        low, high = outside(start)
        axis = jnp.where(low[0] | high[0], 0, 1)
        target = jnp.where(low[axis], 0, last[axis])
        delta = (end - start).astype(jnp.float32)
        # Of a vertical line nothing moves aside.
        slope = delta[1] / jnp.where(delta[0] != 0, delta[0], jnp.inf)
        way = (target - start[axis]).astype(jnp.float32)
        aside = jnp.where(axis == 0, way * slope, way / jnp.where(slope != 0, slope, jnp.inf)).astype(jnp.int32)
        moved = jnp.where(jnp.arange(2) == axis, target, start + aside)
        return jnp.where(done, start, moved), end

    # Each round moves one end to one side of the picture, which takes at most four.
    start, end = jax.lax.fori_loop(0, 4, move, (start, end))
    return start, end, ~(outside(start) | outside(end)).any()


@chex.dataclass(frozen=True)
class _Line:
    """A line as the rows and the columns of a window meet it; of the two the steeper counts.

    Attributes:
        steep: whether the line is walked along the rows.
        aside_y: how far each row is from the line's beginning; where the line is not steep that is across it.
        aside_x: how far each column is, to the side that the line goes to.
        by_y: for each row how far aside the line is there, and the shares of that pixel and the next.
        by_x: the same for each column.
    """

    steep: Bool[Array, "*lines"]
    aside_y: Int[Array, "*lines H"]
    aside_x: Int[Array, "*lines W"]
    by_y: Int[Array, "*lines 3 H"]
    by_x: Int[Array, "*lines 3 W"]


def _aaline(
    start: Int[Array, "2"], end: Int[Array, "2"], size: tuple[int, int], y: Int[Array, " H"], x: Int[Array, " W"]
) -> _Line:
    """The line between two points without its last one."""
    first, last, visible = _clip(start, end, size)
    swapped = first[1] > last[1]
    top, bottom = jnp.where(swapped, last, first), jnp.where(swapped, first, last)
    dx, dy = bottom[0] - top[0], bottom[1] - top[1]
    direction, dx = jnp.where(dx >= 0, 1, -1), jnp.abs(dx)
    steep = dy > dx
    long, short = jnp.maximum(dx, dy), jnp.minimum(dx, dy)
    straight = short == 0
    rise = (short << 16) // jnp.maximum(long, 1)

    def walk(step: Int[Array, " n"]) -> Int[Array, "3 n"]:
        aside, weight = step * rise >> 16, (step * rise & 0xFFFF) >> 8
        between = (step > 0) & (step < long)
        # The point that the line was asked to start from has the full colour.
        origin = step == jnp.where(swapped, long, 0)
        aside = jnp.where(origin & swapped, short, aside)
        full = (straight & (step >= 0) & (step <= long)) | origin
        here = jnp.where(full, FULL, jnp.where(between, 255 * (255 - weight) >> 8, 0))
        beyond = jnp.where(between & ~full, 255 * weight >> 8, 0)
        return jnp.stack([aside, jnp.where(visible, here, 0), jnp.where(visible, beyond, 0)])

    down, across = y - top[1], (x - top[0]) * direction
    return _Line(steep=steep, aside_y=down, aside_x=across, by_y=walk(down), by_x=walk(across))


def _shares(line: _Line) -> Int[Array, "H W"]:
    """Share of the line's colour that each pixel of the window takes."""
    at, here, beyond = (
        jnp.where(line.steep, row[:, None], column[None, :]) for row, column in zip(line.by_y, line.by_x, strict=True)
    )
    offset = jnp.where(line.steep, line.aside_x[None, :], line.aside_y[:, None]) - at
    return jnp.where(offset == 0, here, jnp.where(offset == 1, beyond, 0))


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
