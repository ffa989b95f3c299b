"""Row spans of pygame's filled primitives, in closed form.

A primitive is described by the columns it covers on each canvas row that is asked for, so that only the rows an
image needs are ever computed. All arithmetic is on int32 and gives the very pixels of pygame 2.6.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# Far enough to hold everything visible, near enough for products of two coordinates to fit int32.
COORDINATE_LIMIT = 4095
_NOTHING = 1 << 20


@chex.dataclass(frozen=True)
class Spans:
    """Columns `lo..hi` (inclusive) covered on each row; nothing where `lo > hi`."""

    lo: Int[Array, "*prims rows"]
    hi: Int[Array, "*prims rows"]


def to_pixels(points: Float[Array, "*dims"]) -> Int[Array, "*dims"]:
    """Round coordinates half to even, as Python's `round` does.

    Args:
        points: canvas coordinates, px; values beyond +-4095 are clipped (they are far outside any canvas).

    Returns:
        int32 coordinates, px.
    """
    return jnp.rint(jnp.clip(points, -COORDINATE_LIMIT, COORDINATE_LIMIT)).astype(jnp.int32)


def hull(first: Spans, second: Spans) -> Spans:
    """Smallest spans that hold both; the union where the two touch."""
    return Spans(lo=jnp.minimum(first.lo, second.lo), hi=jnp.maximum(first.hi, second.hi))


def where(keep: Bool[Array, "*dims"], spans: Spans) -> Spans:
    """Drop the spans for which `keep` is false."""
    return Spans(lo=jnp.where(keep, spans.lo, _NOTHING), hi=jnp.where(keep, spans.hi, -_NOTHING))


def _floor_divide(num: Int[Array, "..."], den: Int[Array, "..."]) -> tuple[Int[Array, "..."], Int[Array, "..."]]:
    """Floor quotient and remainder for `den > 0`.

    A float estimate with an integer correction: CPUs have no vector instruction for integer division.
    """
    quotient = jnp.floor(num.astype(jnp.float32) * (1.0 / den.astype(jnp.float32))).astype(jnp.int32)
    remainder = num - quotient * den
    correction = (remainder >= den).astype(jnp.int32) - (remainder < 0).astype(jnp.int32)
    return quotient + correction, remainder - correction * den


def convex_polygon(vertices: Int[Array, "V 2"], rows: Int[Array, " rows"]) -> Spans:
    """Fill of a convex polygon.

    Args:
        vertices: corners in order, px.
        rows: canvas rows to cover, px.

    Returns:
        Spans [rows].

    Source: pygame 2.6 `draw_fillpoly`: crossings of each row with the edges, truncated towards zero. A convex outline
    crosses a row twice, so that sorting and pairing the crossings is taking the least and the greatest.
    """
    x, y = vertices[:, 0], vertices[:, 1]
    x_next, y_next = jnp.roll(x, -1), jnp.roll(y, -1)
    down = y < y_next
    x1, y1 = jnp.where(down, x, x_next)[:, None], jnp.where(down, y, y_next)[:, None]
    x2, y2 = jnp.where(down, x_next, x)[:, None], jnp.where(down, y_next, y)[:, None]
    top, bottom = y.min(), y.max()
    row = rows[None, :]

    crosses = (row >= y1) & ((row < y2) | ((row == bottom) & (y2 == bottom))) & (y1 < y2)
    height = jnp.maximum(y2 - y1, 1)
    crossing, remainder = _floor_divide((row - y1) * (x2 - x1) + x1 * height, height)
    crossing = crossing + ((crossing < 0) & (remainder > 0)).astype(jnp.int32)
    # A polygon one row high has no crossing edge and fills from its leftmost to its rightmost corner.
    flat = top == bottom
    lo = jnp.where(flat, x[:, None], crossing)
    hit = jnp.where(flat, row == top, crosses)
    return Spans(lo=jnp.where(hit, lo, _NOTHING).min(0), hi=jnp.where(hit, lo, -_NOTHING).max(0))


@functools.cache
def _disc_half_widths(max_radius: int) -> np.ndarray:
    """Half width of a filled disc by radius and by distance from its middle (pygame's midpoint walk)."""
    table = np.zeros((max_radius + 1, max_radius + 1), np.int32)
    for radius in range(1, max_radius + 1):
        decision, short, long = 1 - radius, 0, radius
        while short < long:
            if decision >= 0:
                long -= 1
                decision -= 2 * long
            short += 1
            decision += 2 * short + 1
            if decision >= 0:
                table[radius, max(long, 1) - 1] = max(table[radius, max(long, 1) - 1], short)
            # A span that comes out reversed (radius 1) is turned round by pygame.
            table[radius, short - 1] = max(table[radius, short - 1], long, 1)
    return table


def disc(center: Int[Array, "2"], radius: Int[Array, ""], rows: Int[Array, " rows"], max_radius: int = 64) -> Spans:
    """Filled disc: columns `x-w..x+w-1`, rows `y-radius..y+radius-1`.

    Args:
        center: px.
        radius: px; nothing is drawn below 1.
        rows: canvas rows to cover, px.
        max_radius: largest radius that can be asked for (static); a larger one is drawn as this.

    Returns:
        Spans [rows].

    Source: pygame 2.6 `draw_circle_filled`.
    """
    widths = jnp.asarray(_disc_half_widths(max_radius))[jnp.clip(radius, 0, max_radius)]
    offset = rows - center[1]
    distance = jnp.where(offset < 0, -1 - offset, offset)
    if max_radius <= 4:  # a few selects are faster than a gather on every row
        half = functools.reduce(lambda h, d: jnp.where(distance == d, widths[d], h), range(max_radius), 0 * distance)
    else:
        half = widths[jnp.minimum(distance, max_radius)]
    return where(half > 0, Spans(lo=center[0] - half, hi=center[0] + half - 1))


def _clip_line(
    start: Int[Array, "2"], end: Int[Array, "2"], size: int
) -> tuple[Int[Array, "2"], Int[Array, "2"], Bool[Array, ""]]:
    """End points moved to the box [0, size]^2, and whether the line meets it (pygame's Liang-Barsky walk)."""
    delta = end - start
    # Parameters at which the line meets the low and the high side of each axis, as fractions with positive denominator.
    safe = jnp.maximum(jnp.abs(delta), 1)
    towards_high = delta > 0
    enter = jnp.where(towards_high, -start, start - size)
    leave = jnp.where(towards_high, size - start, start)
    moving = delta != 0
    outside = ~moving & ((start < 0) | (start > size))

    first = jnp.where(moving, enter / safe, 0.0)
    last = jnp.where(moving, leave / safe, 1.0)
    axis_in, axis_out = jnp.argmax(first), jnp.argmin(last)
    starts_outside = first[axis_in] > 0
    ends_outside = last[axis_out] < 1
    meets = ~outside.any() & (jnp.maximum(first[axis_in], 0.0) <= jnp.minimum(last[axis_out], 1.0))

    def move(axis, distance):
        steps, _ = _floor_divide(2 * jnp.abs(delta) * distance[axis] + safe[axis], 2 * safe[axis])
        return start + jnp.sign(delta) * steps

    clipped_start = jnp.where(starts_outside, move(axis_in, enter), start)
    clipped_end = jnp.where(ends_outside, move(axis_out, leave), end)
    return clipped_start, clipped_end, meets


def wide_line(start: Int[Array, "2"], end: Int[Array, "2"], width: int, rows: Int[Array, " rows"], size: int) -> Spans:
    """Line of a width above 1, its ends cut along an axis.

    Args:
        start: px.
        end: px.
        width: px (static), at least 2.
        rows: canvas rows to cover, px.
        size: side of the canvas, px: the line is clipped to it before it is walked, which moves its pixels.

    Returns:
        Spans [rows].

    Source: pygame 2.6 `draw_line_width`. After `k` steps along the longer axis of length `A`, the walk has made
    `ceil((k B - A // 2) / A)` steps along the shorter axis of length `B`.
    """
    before, after = (width - 1) // 2, width // 2
    across, down = jnp.abs(end - start)[0], jnp.abs(end - start)[1]
    sign = jnp.where(start < end, 1, -1)
    first, last, meets = _clip_line(start, end, size)
    steep = across <= down
    long, short = jnp.maximum(across, down), jnp.minimum(across, down)
    half = long // 2

    # The walk ends when both axes have reached the clipped end. Clipping rounds, so the shorter axis can be late; the
    # longer one then runs past the true end and, as pygame compares with `!=`, on to the edge of the canvas.
    # A line cut down to one pixel just outside is not walked at all.
    grazes = (first == last).all() & (jnp.where(steep, first[1], first[0]) == size)
    along = jnp.where(steep, jnp.abs(end - first)[1], jnp.abs(end - first)[0])
    rise = jnp.where(steep, jnp.abs(last - first)[0], jnp.abs(last - first)[1])
    late, _ = _floor_divide((rise - 1) * long + half, jnp.maximum(short, 1))
    runs_on = (rise > 0) & (short > 0) & (late + 1 > along)
    steps = jnp.where(runs_on, 4 * size, along)

    divisor = jnp.maximum(down, 1)
    # Longer axis down the rows: one step a row.
    k = (rows - first[1]) * sign[1]
    moved, _ = _floor_divide(k * short - half + divisor - 1, divisor)
    middle = first[0] + sign[0] * moved
    by_row = where((k >= 0) & (k <= steps), Spans(lo=middle - before, hi=middle + after))
    # Longer axis along the columns: the steps whose column covers this row.
    least = jnp.where(sign[1] > 0, rows - after - first[1], first[1] - before - rows)
    from_step = _floor_divide((least - 1) * long + half, divisor)[0] + 1
    to_step = _floor_divide((least + width - 1) * long + half, divisor)[0]
    level = (least <= 0) & (least + width - 1 >= 0)
    from_step = jnp.where(short > 0, jnp.maximum(from_step, 0), jnp.where(level, 0, _NOTHING))
    to_step = jnp.where(short > 0, jnp.minimum(to_step, steps), jnp.where(level, steps, -1))
    one, other = first[0] + sign[0] * from_step, first[0] + sign[0] * to_step
    by_column = where(from_step <= to_step, Spans(lo=jnp.minimum(one, other), hi=jnp.maximum(one, other)))
    return where(
        meets & ~grazes,
        Spans(lo=jnp.where(steep, by_row.lo, by_column.lo), hi=jnp.where(steep, by_row.hi, by_column.hi)),
    )


def fat_segment_body(
    start: Int[Array, "2"], end: Int[Array, "2"], radius: int, rows: Int[Array, " rows"], size: int
) -> Spans:
    """Fat segment without the discs at its ends: a line twice the radius wide and a quad over it.

    Args:
        start: px.
        end: px.
        radius: px (static), 2 or more.
        rows: canvas rows to cover, px.
        size: side of the canvas, px.

    Returns:
        Spans [rows]; line and quad touch on every row, so their union is one span a row.

    Source: reference `envs/utils.py` `DrawOptions.draw_fat_segment`. The quad's offset is taken from absolute lengths,
    so the quad is perpendicular to the segment only where it falls to the left (a quirk that every dataset shows).
    """
    length = jnp.abs(end - start)
    # round(radius * d / L) in integers; a tie cannot happen, it would need an irrational length.
    levels = (2 * jnp.arange(radius, dtype=jnp.int32) + 1) ** 2
    offset = ((2 * radius * length[::-1, None]) ** 2 > levels[None, :] * (length**2).sum()).sum(1).astype(jnp.int32)
    quad = convex_polygon(jnp.stack([start - offset, start + offset, end + offset, end - offset]), rows)
    line = wide_line(start, end, 2 * radius, rows, size)
    return hull(line, where((length > 0).any(), quad))


def fat_outline(vertices: Int[Array, "V 2"], radius: int, rows: Int[Array, " rows"], size: int) -> Spans:
    """Outline of a polygon in fat segments: their bodies and a disc at each corner.

    Args:
        vertices: corners in order, px.
        radius: px (static), 2 or more.
        rows: canvas rows to cover, px.
        size: side of the canvas, px.

    Returns:
        Spans [2 V, rows].

    Source: reference `envs/utils.py` `DrawOptions.draw_polygon`.
    """
    following = jnp.roll(vertices, -1, axis=0)
    body = jax.vmap(lambda start, end: fat_segment_body(start, end, radius, rows, size))(vertices, following)
    # An edge whose ends round to the same pixel is a bare line without discs.
    edge = (vertices != following).any(1)
    cap_radius = jnp.where(edge | jnp.roll(edge, 1), radius, 0)
    caps = jax.vmap(lambda center, r: disc(center, r, rows, radius))(vertices, cap_radius)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), body, caps)
