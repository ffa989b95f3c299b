"""Contact generation between two convex shapes, with the rules of Munk2D.

The reference finds the closest features with GJK and EPA. Here all edges are tried, side by side along leading axes,
which gives the same features without a data-dependent loop; the pairs lie along the trailing axes, so that a batch
turns every operation into vector instructions.

Source: Munk2D's contact rules as listed in the reference's physics (spec envs_classic, section 2).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Polygon(NamedTuple):
    """A convex polygon in world coordinates (px): vertices, and outward unit normals of the edges that end in them.

    A fat segment is a polygon of two vertices with a radius.
    """

    x: Float[Array, "V *n"]
    y: Float[Array, "V *n"]
    normal_x: Float[Array, "V *n"]
    normal_y: Float[Array, "V *n"]


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


def polygon_normals(vertices: Float[Array, "n V 2 *lanes"]) -> Float[Array, "n V 2 *lanes"]:
    """Outward unit normals of polygons whose vertices turn as `World` wants; entry i: the edge that ends in i."""
    delta = vertices - jnp.concatenate([vertices[:, -1:], vertices[:, :-1]], axis=1)
    length_sq = (delta**2).sum(axis=2, keepdims=True)
    # A masked polygon may be a single point: its normals are zero, not NaN.
    scale = jnp.where(length_sq > 0.0, 1.0 / jnp.sqrt(jnp.where(length_sq > 0.0, length_sq, 1.0)), 0.0)
    return jnp.concatenate([delta[:, :, 1:], -delta[:, :, :1]], axis=2) * scale


def circle_polygon(x: Float[Array, "*n"], y: Float[Array, "*n"], radius: Float[Array, "*n"], polygon: Polygon) -> Touch:
    """Contact of a circle with a polygon: at most one point.

    Args:
        x: Centre (px).
        y: Centre (px).
        radius: Radius of the circle (px).
        polygon: The polygon.
    """
    edges = _edges(polygon)
    separations = _beyond(edges, x[None], y[None])
    inside = (separations <= 0.0).all(axis=0)
    nearest = _least(jnp.where(inside[None], -separations, _closest(edges, x[None], y[None])[2]))
    edge = _Edges(*_chosen(nearest, jnp.stack(edges)))
    px, py, distance_sq, interior = _closest(edge, x, y)
    # Away from the corners the edge's own normal is exact even when the gap is tiny.
    flat = inside | interior
    distance = jnp.where(flat, _beyond(edge, x, y), _safe_sqrt(distance_sq))
    scale = jnp.where(distance > 0.0, 1.0 / jnp.where(distance > 0.0, distance, 1.0), 0.0)
    normal_x = jnp.where(flat, -edge.normal_x, (px - x) * scale)
    normal_y = jnp.where(flat, -edge.normal_y, (py - y) * scale)
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


class _Edges(NamedTuple):
    """Edges, one or many: where they end, their outward normal, and where they start."""

    x: Array
    y: Array
    normal_x: Array
    normal_y: Array
    x0: Array
    y0: Array


def _edges(polygon: Polygon) -> _Edges:
    return _Edges(*polygon, *(jnp.concatenate([v[-1:], v[:-1]]) for v in polygon[:2]))


def _least(score: Float[Array, "m *n"]) -> Int[Array, "*n"]:
    """Which entry is the smallest; the first of equals."""
    return jax.lax.argmin(score, 0, jnp.int32)


def _chosen(index, table):
    """The entries [k, *n] of a table [k, m, *n]."""
    numbers = np.arange(table.shape[1], dtype=np.int32).reshape(1, -1, *[1] * index.ndim)
    return jnp.where(numbers == index[None, None], table, 0).sum(axis=1, dtype=table.dtype)


def _safe_sqrt(x):
    """Square root whose gradient at zero is zero instead of infinite."""
    return jnp.where(x > 0.0, jnp.sqrt(jnp.where(x > 0.0, x, 1.0)), 0.0)


def _beyond(edge, x, y):
    """Signed distance of points from the lines of edges."""
    return edge.normal_x * (x - edge.x) + edge.normal_y * (y - edge.y)


def _closest(edge, x, y):
    """Closest point to (x, y) on an edge, its squared distance, and if it is inside the edge."""
    dx, dy = edge.x - edge.x0, edge.y - edge.y0
    t = ((x - edge.x0) * dx + (y - edge.y0) * dy) / jnp.maximum(dx * dx + dy * dy, jnp.finfo(dx.dtype).tiny)
    clipped = jnp.clip(t, 0.0, 1.0)
    px, py = edge.x0 + dx * clipped, edge.y0 + dy * clipped
    return px, py, (px - x) ** 2 + (py - y) ** 2, (t > 0.0) & (t < 1.0)


def _separating_axis(first, second, rounded):
    """Unit normal from first to second along which they overlap least or lie closest, and the signed distance."""
    sizes = (len(first.x), len(second.x))
    # Edges of both side by side, and of every edge the corners of the other polygon.
    edges = jnp.concatenate([jnp.stack(_edges(polygon)) for polygon in (first, second)], axis=1)
    pairs = [(edge, corner) for edge in range(sizes[0]) for corner in range(sizes[0], sum(sizes))]
    pairs += [(edge, corner) for edge in range(sizes[0], sum(sizes)) for corner in range(sizes[0])]

    def at(pairs):
        edge, corner = np.array(pairs, np.int32).T
        return _Edges(*_columns(edges, edge)), *_columns(edges[:2], corner)

    beyond = _beyond(*at(pairs))
    middle, shape = sizes[0] * sizes[1], beyond.shape[1:]
    overlaps = jnp.concatenate(
        [beyond[:middle].reshape(*sizes, *shape).min(axis=1), beyond[middle:].reshape(*sizes[::-1], *shape).min(axis=1)]
    )
    deepest, overlap = _least(-overlaps), overlaps.max(axis=0)
    sign = jnp.where(deepest < sizes[0], 1.0, -1.0).astype(overlap.dtype)
    deep_x, deep_y = _chosen(deepest, edges[2:4])
    if not rounded:
        return (sign * deep_x, sign * deep_y), overlap
    # Both edges of a segment are the same set of points: its corners are looked at once.
    skipped = {start for start, size in zip((0, sizes[0]), sizes, strict=True) if size == 2}
    pairs = [pair for pair in pairs if pair[0] not in skipped]
    edge, corner = np.array(pairs, np.int32).T.reshape(2, -1, *[1] * len(shape))
    thin = np.array([size == 2 for size in sizes for _ in range(size)])[edge]
    candidates, x, y = at(pairs)
    distance_sq = _closest(candidates, x, y)[2]
    behind = ~thin & (_beyond(candidates, x, y) < 0.0)
    nearest = _least(jnp.where(behind, jnp.inf, distance_sq))[None]
    numbers = np.arange(len(pairs), dtype=np.int32).reshape(edge.shape)
    edge, corner = (jnp.where(numbers == nearest, v, 0).sum(axis=0, dtype=jnp.int32) for v in (edge, corner))
    near = _Edges(*_chosen(edge, edges))
    x, y = _chosen(corner, edges[:2])
    px, py, distance_sq, interior = _closest(near, x, y)
    near_sign = jnp.where(edge < sizes[0], 1.0, -1.0).astype(overlap.dtype)
    flat_sign = jnp.where((_beyond(near, x, y) < 0.0) & _is_thin(edge, sizes), -near_sign, near_sign)
    separation = _safe_sqrt(distance_sq)
    flat = interior | (separation == 0.0)
    scale = near_sign / jnp.where(separation > 0.0, separation, 1.0)
    apart = overlap > 0.0
    nx = jnp.where(apart, jnp.where(flat, flat_sign * near.normal_x, (x - px) * scale), sign * deep_x)
    ny = jnp.where(apart, jnp.where(flat, flat_sign * near.normal_y, (y - py) * scale), sign * deep_y)
    return (nx, ny), jnp.where(apart, separation, overlap)


def _columns(table, index):
    return table.at[:, index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _is_thin(edge, sizes):
    """Whether an edge, numbered through both polygons, belongs to a segment."""
    return jnp.where(edge < sizes[0], sizes[0] == 2, sizes[1] == 2)


class _Support(NamedTuple):
    x0: Array
    y0: Array
    x1: Array
    y1: Array
    id0: Array
    id1: Array


def _support_edge(polygon, dx, dy) -> _Support:
    """The edge that faces a direction."""
    last, table = len(polygon.x) - 1, jnp.stack(polygon)
    number = _least(-(polygon.x * dx[None] + polygon.y * dy[None]))
    before, after = jnp.where(number == 0, last, number - 1), jnp.where(number == last, 0, number + 1)
    here, following = _chosen(number, table), _chosen(after, table)
    ends_here = here[2] * dx + here[3] * dy > following[2] * dx + following[3] * dy
    x0, y0 = jnp.where(ends_here[None], _chosen(before, table[:2]), here[:2])
    x1, y1 = jnp.where(ends_here[None], here[:2], following[:2])
    return _Support(x0, y0, x1, y1, jnp.where(ends_here, before, number), jnp.where(ends_here, number, after))
