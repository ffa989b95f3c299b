"""The narrow phase: from shapes in world coordinates to the contact slots of a step.

Pairs whose boxes are apart are passed over: the pairs near each other are visited one after the other, as many rounds
as the busiest scene of the batch has near pairs.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from envs_mjx.rigid2d import collide
from envs_mjx.rigid2d.indexing import pick
from envs_mjx.rigid2d.loops import for_each_active
from envs_mjx.rigid2d.types import STATIC, Bodies, Contacts, Geometry, World


class Placed(NamedTuple):
    """Shapes in world coordinates (px); `boxes` (left, bottom, right, top) of the circles, then of the polygons."""

    center_x: Float[Array, " circles"]
    center_y: Float[Array, " circles"]
    polygons: Float[Array, "polygons 4 V"]
    segments: Float[Array, "segments 4 2"]
    boxes: Float[Array, "leaves 4"]
    segment_boxes: Float[Array, "segments 4"]


def place(world: World, geometry: Geometry, bodies: Bodies) -> Placed:
    """Move every shape to where its body is. Rows of a polygon: x, y, normal x, normal y of each vertex."""
    x, y = _turned(bodies, world.circles, geometry.circle_center[:, None, :], shifted=True)
    center_x, center_y = x[:, 0], y[:, 0]
    radius = geometry.circle_radius
    round_boxes = [center_x - radius, center_y - radius, center_x + radius, center_y + radius]
    vx, vy = _turned(bodies, world.polygons, geometry.polygon_vertices, shifted=True)
    nx, ny = _turned(bodies, world.polygons, geometry.polygon_normals, shifted=False)
    flat_boxes = [_fold(jnp.minimum, vx), _fold(jnp.minimum, vy), _fold(jnp.maximum, vx), _fold(jnp.maximum, vy)]
    ends = geometry.segment_ends
    normals = collide.polygon_normals(ends)
    thick = geometry.segment_radius[:, None]
    return Placed(
        center_x=center_x,
        center_y=center_y,
        polygons=jnp.stack([vx, vy, nx, ny], axis=1),
        segments=jnp.concatenate([jnp.swapaxes(ends, 1, 2), jnp.swapaxes(normals, 1, 2)], axis=1),
        boxes=jnp.concatenate([jnp.stack(round_boxes, axis=1), jnp.stack(flat_boxes, axis=1)]),
        segment_boxes=jnp.concatenate([ends.min(axis=1) - thick, ends.max(axis=1) + thick], axis=1),
    )


def find_contacts(world: World, geometry: Geometry, placed: Placed) -> Contacts:
    """Contacts of every pair, in the order of the world's pairs."""
    circles, mask = len(world.circles), geometry.polygon_mask
    boxes, round_boxes = placed.boxes[circles:], placed.boxes[:circles]
    sharp = jnp.zeros((), placed.boxes.dtype)
    rows = []
    if world.circle_polygon:
        first, second = np.array(world.circle_polygon).T
        near = _overlap(pick(round_boxes, first), pick(boxes, second)) & pick(mask, second)
        x, y, radius = (pick(v, first) for v in (placed.center_x, placed.center_y, geometry.circle_radius))
        touch = collide.circle_polygon(x, y, radius, _polygon(pick(placed.polygons, second)))
        rows.append(_rows(touch, near)[0])
    if world.segment_polygon:
        first, second = np.array(world.segment_polygon).T
        near = _overlap(pick(placed.segment_boxes, first), pick(boxes, second)) & pick(mask, second)

        def against_segment(k, m):
            segment, polygon = _polygon(placed.segments[k]), _polygon(placed.polygons[m])
            return collide.polygon_polygon(segment, geometry.segment_radius[k], polygon, sharp, rounded=True)

        rows.append(_visit_near(near, first, second, against_segment, world.differentiable, sharp.dtype))
    if world.polygon_polygon:
        first, second = np.array(world.polygon_polygon).T
        near = _overlap(pick(boxes, first), pick(boxes, second)) & pick(mask, first) & pick(mask, second)

        def against_polygon(k, m):
            one, other = _polygon(placed.polygons[k]), _polygon(placed.polygons[m])
            return collide.polygon_polygon(one, sharp, other, sharp, rounded=False)

        rows.append(_visit_near(near, first, second, against_polygon, world.differentiable, sharp.dtype))
    active, nx, ny, ax, ay, bx, by, feature = (jnp.concatenate(column) for column in zip(*rows, strict=True))
    return Contacts(
        active=active,
        normal=jnp.stack([nx, ny], axis=1),
        point_a=jnp.stack([ax, ay], axis=1),
        point_b=jnp.stack([bx, by], axis=1),
        feature=jnp.where(active, feature, -1),
    )


def _turned(bodies, owner, points, shifted):
    """World x and y of points given in the frame of their body."""
    x, y = points[..., 0], points[..., 1]
    if not owner or all(body == STATIC for body in owner):
        return x, y
    if STATIC in owner:
        raise UserError("shapes of one kind must be all static or all attached to bodies")
    cos, sin = (pick(f(bodies.angle), owner)[:, None] for f in (jnp.cos, jnp.sin))
    turned_x, turned_y = cos * x - sin * y, sin * x + cos * y
    if not shifted:
        return turned_x, turned_y
    px, py = (pick(bodies.position[:, axis], owner)[:, None] for axis in (0, 1))
    return turned_x + px, turned_y + py


def _fold(combine, values):
    total = values[:, 0]
    for i in range(1, values.shape[1]):
        total = combine(total, values[:, i])
    return total


def _overlap(a, b):
    return (a[:, 0] <= b[:, 2]) & (b[:, 0] <= a[:, 2]) & (a[:, 1] <= b[:, 3]) & (b[:, 1] <= a[:, 3])


def _polygon(rows) -> collide.Polygon:
    """Split [*, 4, V] rows into per-vertex arrays."""
    return collide.Polygon(*([rows[..., kind, i] for i in range(rows.shape[-1])] for kind in range(4)))


def _rows(touch, near):
    """One tuple (active, normal, points, feature) for every contact of a touch."""
    return [
        (near & active, touch.normal_x, touch.normal_y, ax, ay, bx, by, feature)
        for active, ax, ay, bx, by, feature in touch.points
    ]


def _visit_near(near, first, second, narrow_phase, differentiable, dtype):
    """Run a two-contact narrow phase for the near pairs only; returns flat slots, two a pair."""
    pairs = near.shape[0]
    turn = jnp.cumsum(near, dtype=jnp.int32) - 1
    first, second = jnp.asarray(first), jnp.asarray(second)

    def visit(i, slots):
        mine = near & (turn == i)
        k = jnp.where(mine, first, 0).sum()
        m = jnp.where(mine, second, 0).sum()
        found = _rows(narrow_phase(k, m), jnp.any(mine))
        return tuple(
            tuple(jnp.where(mine, new, old) for new, old in zip(row, kept, strict=True))
            for row, kept in zip(found, slots, strict=True)
        )

    zero = jnp.zeros((pairs,), dtype)
    empty = (jnp.zeros((pairs,), bool), *([zero] * 6), jnp.full((pairs,), -1, jnp.int32))
    rows = for_each_active(near.sum(dtype=jnp.int32), pairs, visit, (empty, empty), differentiable)
    return tuple(jnp.stack(column, axis=1).reshape(-1) for column in zip(*rows, strict=True))
