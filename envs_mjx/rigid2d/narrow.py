"""The narrow phase: from shapes in world coordinates to the contact slots of a step.

Pairs whose boxes are apart are passed over: the pairs near each other are visited one after the other, as many rounds
as the busiest scene of the batch has near pairs. The scenes of a batch are the last axis of every array.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from envs_mjx.checks import UserError
from envs_mjx.rigid2d import collide
from envs_mjx.rigid2d.indexing import choose, pick
from envs_mjx.rigid2d.types import STATIC, Bodies, Contacts, Geometry, World


class Placed(NamedTuple):
    """Shapes in world coordinates (px); boxes are left, bottom, right, top. Rows of a shape: x, y, normal x, normal y
    of each vertex."""

    centers: Float[Array, "circles 2 L"]
    circle_boxes: Float[Array, "circles 4 L"]
    polygons: Float[Array, "polygons 4 V L"]
    polygon_boxes: Float[Array, "polygons 4 L"]
    segments: Float[Array, "segments 4 2 L"]
    segment_boxes: Float[Array, "segments 4 L"]


class Near(NamedTuple):
    """Pairs of the world whose boxes overlap."""

    circle_polygon: Bool[Array, "pairs L"]
    segment_polygon: Bool[Array, "pairs L"]
    polygon_polygon: Bool[Array, "pairs L"]


def place(world: World, geometry: Geometry, bodies: Bodies) -> Placed:
    """Move every shape to where its body is."""
    centers, circle_boxes = place_circles(world, geometry, bodies)
    vertices = _turned(bodies, world.polygons, geometry.polygon_vertices, shifted=True)
    normals = _turned(bodies, world.polygons, geometry.polygon_normals, shifted=False)
    ends = geometry.segment_ends
    thick = geometry.segment_radius[:, None]
    return Placed(
        centers=centers,
        circle_boxes=circle_boxes,
        polygons=jnp.concatenate([vertices, normals], axis=1),
        polygon_boxes=jnp.concatenate([vertices.min(axis=2), vertices.max(axis=2)], axis=1),
        segments=jnp.swapaxes(jnp.concatenate([ends, collide.polygon_normals(ends)], axis=2), 1, 2),
        segment_boxes=jnp.concatenate([ends.min(axis=1) - thick, ends.max(axis=1) + thick], axis=1),
    )


def place_circles(
    world: World, geometry: Geometry, bodies: Bodies
) -> tuple[Float[Array, "circles 2 L"], Float[Array, "circles 4 L"]]:
    """Centres and boxes of the circles."""
    centers = _turned(bodies, world.circles, geometry.circle_center[:, None], shifted=True)[:, :, 0]
    radius = geometry.circle_radius[:, None]
    return centers, jnp.concatenate([centers - radius, centers + radius], axis=1)


def near_pairs(world: World, geometry: Geometry, placed: Placed) -> Near:
    """Which pairs may touch."""
    mask = geometry.polygon_mask

    def near(pairs, boxes):
        first, second = np.array(pairs, np.int32).reshape(-1, 2).T
        return overlap(pick(boxes, first), pick(placed.polygon_boxes, second)) & pick(mask, second)

    none = jnp.zeros((0, mask.shape[-1]), bool)
    circle = near(world.circle_polygon, placed.circle_boxes) if world.circle_polygon else none
    segment = near(world.segment_polygon, placed.segment_boxes) if world.segment_polygon else none
    polygon = none
    if world.polygon_polygon:
        present = pick(mask, [one for one, _ in world.polygon_polygon])
        polygon = near(world.polygon_polygon, placed.polygon_boxes) & present
    return Near(circle, segment, polygon)


def find_contacts(world: World, geometry: Geometry, placed: Placed) -> Contacts:
    """Contacts of every pair, in the order of the world's pairs."""
    near = near_pairs(world, geometry, placed)
    sharp = jnp.zeros(near.circle_polygon.shape[1:], placed.polygons.dtype)
    rows = []
    if world.circle_polygon:
        first, second = np.array(world.circle_polygon).T
        center, radius = pick(placed.centers, first), pick(geometry.circle_radius, first)
        polygon = _polygon(jnp.moveaxis(pick(placed.polygons, second), 0, 2))
        touch = collide.circle_polygon(center[:, 0], center[:, 1], radius, polygon)
        active, values, feature = _slots(touch)
        rows.append((near.circle_polygon & active[0], jnp.moveaxis(values[0], 0, 1), feature[0]))
    if world.segment_polygon:

        def against_segment(k, m):
            segment, polygon = _polygon(choose(k, placed.segments)), _polygon(choose(m, placed.polygons))
            return collide.polygon_polygon(segment, choose(k, geometry.segment_radius), polygon, sharp, rounded=True)

        rows.append(_visit_near(world, world.segment_polygon, near.segment_polygon, against_segment, sharp))
    if world.polygon_polygon:

        def against_polygon(k, m):
            one, other = _polygon(choose(k, placed.polygons)), _polygon(choose(m, placed.polygons))
            return collide.polygon_polygon(one, sharp, other, sharp, rounded=False)

        rows.append(_visit_near(world, world.polygon_polygon, near.polygon_polygon, against_polygon, sharp))
    active, values, feature = (jnp.concatenate(column) for column in zip(*rows, strict=True))
    return Contacts(
        active=active,
        normal=values[:, 0:2],
        point_a=values[:, 2:4],
        point_b=values[:, 4:6],
        feature=jnp.where(active, feature, -1),
    )


def overlap(a: Float[Array, "pairs 4 L"], b: Float[Array, "pairs 4 L"]) -> Bool[Array, "pairs L"]:
    """Whether two boxes touch or overlap."""
    return ((a[:, :2] <= b[:, 2:]) & (b[:, :2] <= a[:, 2:])).all(axis=1)


def _turned(bodies, owner, points, shifted):
    """World x and y [n, 2, V, L] of points [n, V, 2, L] given in the frame of their body."""
    points = jnp.swapaxes(points, 1, 2)
    if not owner or all(body == STATIC for body in owner):
        return points
    if STATIC in owner:
        raise UserError("shapes of one kind must be all static or all attached to bodies")
    cos, sin = (pick(f(bodies.angle), owner)[:, None, None] for f in (jnp.cos, jnp.sin))
    x, y = points[:, :1], points[:, 1:]
    turned = jnp.concatenate([cos * x - sin * y, sin * x + cos * y], axis=1)
    return turned + pick(bodies.position, owner)[:, :, None] if shifted else turned


def _polygon(rows) -> collide.Polygon:
    """Split rows [4, V, *n] of a shape."""
    return collide.Polygon(*(rows[kind] for kind in range(4)))


def _slots(touch):
    """Of every contact of a touch: whether it is one, [normal, points] and feature, as [contacts, (6,) *n]."""
    normal = [touch.normal_x, touch.normal_y]
    active = jnp.stack([point[0] for point in touch.points])
    values = jnp.stack([jnp.stack([*normal, *point[1:5]]) for point in touch.points])
    return active, values, jnp.stack([point[5] for point in touch.points])


def _visit_near(world, pairs, near, narrow_phase, sharp):
    """Run a two-contact narrow phase for the near pairs only; returns flat slots, two a pair.

    `narrow_phase` is told the numbers of the first and of the second shape of a pair, one pair a lane.
    """
    count, lanes = near.shape
    turn = jnp.cumsum(near, axis=0, dtype=jnp.int32) - 1
    first, second = np.array(pairs, np.int32).T[:, :, None]

    def visit(i, slots):
        mine = near & (turn == i)
        shapes = (jnp.where(mine, end, 0).sum(axis=0, dtype=jnp.int32) for end in (first, second))
        active, values, feature = _slots(narrow_phase(*shapes))
        new = (active[None], values[None], feature[None])
        here = (mine[:, None], mine[:, None, None], mine[:, None])
        return tuple(jnp.where(flag, a, b) for flag, a, b in zip(here, new, slots, strict=True))

    empty = (
        jnp.zeros((count, 2, lanes), bool),
        jnp.zeros((count, 2, 6, lanes), sharp.dtype),
        jnp.full((count, 2, lanes), -1, jnp.int32),
    )
    rounds = count if world.differentiable else near.sum(axis=0, dtype=jnp.int32).max()
    found = jax.lax.fori_loop(0, rounds, visit, empty)
    return tuple(x.reshape(2 * count, *x.shape[2:]) for x in found)
