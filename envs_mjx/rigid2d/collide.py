"""Contact generation between two convex shapes, with the rules of Munk2D.

The reference finds the closest features with GJK and EPA. Here all edges are tried, unrolled over the few vertices of
a planar shape, which gives the same features without a data-dependent loop; coordinates are separate arrays of any
shape, so that a batch turns every operation into one vector instruction.

Source: Munk2D's contact rules as listed in the reference's physics (spec envs_classic, section 2).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Polygon(NamedTuple):
    """A convex polygon in world coordinates (px): vertices, and outward unit normals of the edges that end in them.

    A fat segment is a polygon of two vertices with a radius.
    """

    x: Sequence[Float[Array, "*n"]]
    y: Sequence[Float[Array, "*n"]]
    normal_x: Sequence[Float[Array, "*n"]]
    normal_y: Sequence[Float[Array, "*n"]]


class Touch(NamedTuple):
    """Contacts of one pair, each entry of `points` being (active, ax, ay, bx, by, feature) for one contact.

    `a` lies on the first shape, `b` on the second (px); the normal points from the first to the second.
    """

    normal_x: Float[Array, "*n"]
    normal_y: Float[Array, "*n"]
    points: tuple[
        tuple[
            Bool[Array, "*n"],
            Float[Array, "*n"],
            Float[Array, "*n"],
            Float[Array, "*n"],
            Float[Array, "*n"],
            Int[Array, "*n"],
        ],
        ...,
    ]


def polygon_normals(vertices: Float[Array, "*n V 2"]) -> Float[Array, "*n V 2"]:
    """Outward unit normals of a polygon whose vertices turn as `World` wants; entry i: the edge that ends in i."""
    delta = vertices - jnp.roll(vertices, 1, axis=-2)
    length_sq = (delta**2).sum(axis=-1, keepdims=True)
    # A masked polygon may be a single point: its normals are zero, not NaN.
    scale = jnp.where(length_sq > 0.0, 1.0 / jnp.sqrt(jnp.where(length_sq > 0.0, length_sq, 1.0)), 0.0)
    return jnp.stack([delta[..., 1], -delta[..., 0]], axis=-1) * scale


def circle_polygon(x: Float[Array, "*n"], y: Float[Array, "*n"], radius: Float[Array, "*n"], polygon: Polygon) -> Touch:
    """Contact of a circle with a polygon: at most one point.

    Args:
        x: Centre (px).
        y: Centre (px).
        radius: Radius of the circle (px).
        polygon: The polygon.
    """
    count = len(polygon.x)
    separation = [
        nx * (x - vx) + ny * (y - vy)
        for vx, vy, nx, ny in zip(polygon.x, polygon.y, polygon.normal_x, polygon.normal_y, strict=True)
    ]
    inside = separation[0] <= 0.0
    for s in separation[1:]:
        inside = inside & (s <= 0.0)
    best: Any = None
    for i in range(count):
        px, py, distance_sq, interior = _closest(polygon, i, x, y)
        score = jnp.where(inside, -separation[i], distance_sq)
        found = (score, distance_sq, separation[i], px, py, polygon.normal_x[i], polygon.normal_y[i], interior)
        best = found if best is None else _smaller(found, best)
    _, distance_sq, signed, px, py, nx, ny, interior = best
    # Away from the corners the edge's own normal is exact even when the gap is tiny.
    flat = inside | interior
    distance = jnp.where(flat, signed, _safe_sqrt(distance_sq))
    scale = jnp.where(distance > 0.0, 1.0 / jnp.where(distance > 0.0, distance, 1.0), 0.0)
    normal_x = jnp.where(flat, -nx, (px - x) * scale)
    normal_y = jnp.where(flat, -ny, (py - y) * scale)
    feature = jnp.zeros(x.shape, jnp.int32)
    point = (distance <= radius, x + normal_x * radius, y + normal_y * radius, px, py, feature)
    return Touch(normal_x, normal_y, (point,))


def polygon_polygon(
    first: Polygon, first_radius: Float[Array, "*n"], second: Polygon, second_radius: Float[Array, "*n"], rounded: bool
) -> Touch:
    """Contacts of two polygons: at most two points.

    Args:
        first: A polygon.
        first_radius: How much it is rounded out (px).
        second: Another polygon.
        second_radius: How much that one is rounded out (px).
        rounded: Whether a radius can be above zero; without, the corners of shapes apart need no look.
    """
    (nx, ny), distance = _separating_axis(first, second, rounded)
    a, b = _support_edge(first, nx, ny), _support_edge(second, -nx, -ny)
    tiny = jnp.finfo(nx.dtype).tiny

    def along(x, y):
        return x * ny - y * nx

    a0, a1, b0, b1 = along(a.x0, a.y0), along(a.x1, a.y1), along(b.x0, b.y0), along(b.x1, b.y1)
    scale_a = 1.0 / (a1 - a0 + tiny)
    scale_b = 1.0 / (b1 - b0 + tiny)
    reach = distance <= first_radius + second_radius
    points = []
    for target_a, target_b, feature in (
        (b1, a0, a.id0 * len(second.x) + b.id1),
        (b0, a1, a.id1 * len(second.x) + b.id0),
    ):
        ta = jnp.clip((target_a - a0) * scale_a, 0.0, 1.0)
        tb = jnp.clip((target_b - b0) * scale_b, 0.0, 1.0)
        ax = a.x0 * (1.0 - ta) + a.x1 * ta + nx * first_radius
        ay = a.y0 * (1.0 - ta) + a.y1 * ta + ny * first_radius
        bx = b.x0 * (1.0 - tb) + b.x1 * tb - nx * second_radius
        by = b.y0 * (1.0 - tb) + b.y1 * tb - ny * second_radius
        touching = reach & ((bx - ax) * nx + (by - ay) * ny <= 0.0)
        points.append((touching, ax, ay, bx, by, feature))
    return Touch(nx, ny, tuple(points))


def _smaller(new, best):
    """Keep the candidate with the smaller first entry; the earlier one wins a tie."""
    better = new[0] < best[0]
    return tuple(jnp.where(better, a, b) for a, b in zip(new, best, strict=True))


def _safe_sqrt(x):
    """Square root whose gradient at zero is zero instead of infinite."""
    return jnp.where(x > 0.0, jnp.sqrt(jnp.where(x > 0.0, x, 1.0)), 0.0)


def _closest(polygon, i, x, y):
    """Closest point to (x, y) on the edge that ends in vertex i, its squared distance, and if it is inside the edge."""
    x0, y0 = polygon.x[i - 1], polygon.y[i - 1]
    dx, dy = polygon.x[i] - x0, polygon.y[i] - y0
    t = ((x - x0) * dx + (y - y0) * dy) / jnp.maximum(dx * dx + dy * dy, jnp.finfo(dx.dtype).tiny)
    clipped = jnp.clip(t, 0.0, 1.0)
    px, py = x0 + dx * clipped, y0 + dy * clipped
    return px, py, (px - x) ** 2 + (py - y) ** 2, (t > 0.0) & (t < 1.0)


def _separating_axis(first, second, rounded):
    """Unit normal from first to second along which they overlap least or lie closest, and the signed distance."""
    deepest: Any = None
    nearest: Any = None
    for polygon, other, sign in ((first, second, 1.0), (second, first, -1.0)):
        # Both edges of a segment are the same set of points: its corners are looked at once.
        for i in range(len(polygon.x)):
            nx, ny = polygon.normal_x[i], polygon.normal_y[i]
            beyond = [nx * (x - polygon.x[i]) + ny * (y - polygon.y[i]) for x, y in zip(other.x, other.y, strict=True)]
            overlap = beyond[0]
            for b in beyond[1:]:
                overlap = jnp.minimum(overlap, b)
            found = (-overlap, sign * nx, sign * ny)
            deepest = found if deepest is None else _smaller(found, deepest)
            if not rounded or (len(polygon.x) == 2 and i == 0):
                continue
            for x, y, b in zip(other.x, other.y, beyond, strict=True):
                px, py, distance_sq, interior = _closest(polygon, i, x, y)
                side: Any = 1.0
                if len(polygon.x) == 2:
                    side = jnp.where(b < 0.0, -1.0, 1.0)
                else:
                    distance_sq = jnp.where(b >= 0.0, distance_sq, jnp.inf)
                candidate = (
                    distance_sq,
                    sign * (x - px),
                    sign * (y - py),
                    sign * side * nx,
                    sign * side * ny,
                    interior,
                )
                nearest = candidate if nearest is None else _smaller(candidate, nearest)
    overlap = -deepest[0]
    if not rounded:
        return deepest[1:], overlap
    distance_sq, gap_x, gap_y, flat_x, flat_y, interior = nearest
    separation = _safe_sqrt(distance_sq)
    flat = interior | (separation == 0.0)
    scale = 1.0 / jnp.where(separation > 0.0, separation, 1.0)
    apart = overlap > 0.0
    nx = jnp.where(apart, jnp.where(flat, flat_x, gap_x * scale), deepest[1])
    ny = jnp.where(apart, jnp.where(flat, flat_y, gap_y * scale), deepest[2])
    return (nx, ny), jnp.where(apart, separation, overlap)


class _Edge(NamedTuple):
    x0: Array
    y0: Array
    x1: Array
    y1: Array
    id0: Array
    id1: Array


def _support_edge(polygon, dx, dy) -> _Edge:
    """The edge that faces a direction."""
    count = len(polygon.x)
    facing = [nx * dx + ny * dy for nx, ny in zip(polygon.normal_x, polygon.normal_y, strict=True)]
    best: Any = None
    for i in range(count):
        following = (i + 1) % count
        height = polygon.x[i] * dx + polygon.y[i] * dy
        ends_here = facing[i] > facing[following]
        start = [jnp.where(ends_here, p[i - 1], p[i]) for p in (polygon.x, polygon.y)]
        end = [jnp.where(ends_here, p[i], p[following]) for p in (polygon.x, polygon.y)]
        ids = (
            jnp.where(ends_here, (i - 1) % count, i).astype(jnp.int32),
            jnp.where(ends_here, i, following).astype(jnp.int32),
        )
        found = (-height, *start, *end, *ids)
        best = found if best is None else _smaller(found, best)
    return _Edge(*best[1:])
