"""Steps of a scene in which nothing touches: the driven bodies move, the others stand still.

Most scenes of a batch are like this most of the time, so that this is written for speed: scalars instead of small
arrays, and nothing in the loop that does not change.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from envs_mjx.rigid2d import ordering
from envs_mjx.rigid2d.indexing import pick
from envs_mjx.rigid2d.types import Bodies, Geometry, PhysicsState, World

_SLACK = 0.01
"""Distance in px below which shapes may touch: far above rounding."""


class _Leaf(NamedTuple):
    """A moving shape in world coordinates: box, vertices with normals (none for a circle), and centre and radius."""

    box: tuple[Any, Any, Any, Any]
    corners: list[tuple[Any, Any, Any, Any]]
    circle: tuple[Any, Any, Any] | None
    present: Any


def coast(
    world: World, geometry: Geometry, state: PhysicsState, dt: float, steps: int, drive: Callable[[Bodies], Bodies]
) -> tuple[PhysicsState, Bool[Array, ""]]:
    """The state after some steps of a scene whose dynamic bodies stand still and touch nothing.

    Args:
        world: Fixed structure of the scene.
        geometry: Shapes and inertias.
        state: The scene before.
        dt: Duration of a step in s.
        steps: Number of steps.
        drive: Sets the velocities of bodies that are not dynamic, before every step.

    Returns:
        The state after the steps, and whether the scene is of this kind; if not, the state is wrong.
    """
    owners, circles = world.circles + world.polygons, len(world.circles)
    start = _split(state.bodies)
    driven = [body for body in range(len(start)) if body not in world.dynamic]
    fixed = [leaf for leaf, body in enumerate(owners) if body in world.dynamic]
    update_order = tuple(leaf for leaf in world.update_order if leaf not in fixed)
    pairs = [(i, circles + j) for i, j in world.circle_polygon]
    pairs += [(circles + i, circles + j) for i, j in world.polygon_polygon]
    standing = {leaf: _place(world, geometry, start, leaf) for leaf in fixed}

    def place(bodies):
        return [standing[i] if i in standing else _place(world, geometry, bodies, i) for i in range(len(owners))]

    def touching(leaves, stands):
        """Whether a pair may touch, among those whose shapes stand still or among the others."""
        close = jnp.zeros((), bool)
        for i, j in pairs:
            if (i in standing and j in standing) == stands:
                close = close | _close(leaves[i], leaves[j])
        for segment, polygon in world.segment_polygon:
            if (circles + polygon in standing) == stands:
                close = close | _close_to_wall(geometry, segment, leaves[circles + polygon])
        return close

    def body(_, carry):
        bodies, nodes, quiet = carry
        bodies = _split(drive(_join(state.bodies, bodies)))
        moved_bodies = tuple(
            (x + vx * dt, y + vy * dt, angle + spin * dt, vx, vy, spin) if i in driven else start[i]
            for i, (x, y, angle, vx, vy, spin) in enumerate(bodies)
        )
        leaves = place(moved_bodies)
        quiet = quiet & ~touching(leaves, stands=False)
        if nodes is not None:
            velocity = [moved_bodies[owner][3:5] for owner in owners]
            nodes, moved = ordering.advance(nodes, [leaf.box for leaf in leaves], velocity, update_order)
            for leaf in fixed:
                quiet = quiet & ~moved[leaf]
        return moved_bodies, nodes, quiet

    nodes = None if state.tree is None else ordering.unpack(state.tree)
    carry = (start, nodes, _still(world, state.bodies) & ~touching(place(start), stands=True))
    carry = body(0, carry) if steps == 1 else jax.lax.fori_loop(0, steps, body, carry)
    bodies, nodes, quiet = carry
    age = jnp.minimum(state.cache.age + steps, world.collision_persistence)
    coasted = PhysicsState(
        bodies=_join(state.bodies, bodies),
        cache=state.cache.replace(age=age),
        tree=None if nodes is None else ordering.pack(nodes),
    )
    return coasted, quiet


def _still(world, bodies):
    velocities = [bodies.bias_velocity, bodies.bias_angular_velocity]
    velocities += [pick(v, world.dynamic) for v in (bodies.velocity, bodies.angular_velocity)]
    moving = jnp.zeros((), bool)
    for v in velocities:
        moving = moving | jnp.any(v != 0)
    return ~moving


def _split(bodies):
    """Position x, y, angle and their rates for every body, as scalars."""
    return tuple(
        (
            bodies.position[i, 0],
            bodies.position[i, 1],
            bodies.angle[i],
            bodies.velocity[i, 0],
            bodies.velocity[i, 1],
            bodies.angular_velocity[i],
        )
        for i in range(bodies.angle.shape[0])
    )


def _join(before, bodies):
    x, y, angle, vx, vy, spin = (jnp.stack(column) for column in zip(*bodies, strict=True))
    return before.replace(
        position=jnp.stack([x, y], axis=1),
        angle=angle,
        velocity=jnp.stack([vx, vy], axis=1),
        angular_velocity=spin,
    )


def _place(world, geometry, bodies, leaf):
    circles = len(world.circles)
    x, y, angle = bodies[(world.circles + world.polygons)[leaf]][:3]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    if leaf < circles:
        px, py = geometry.circle_center[leaf, 0], geometry.circle_center[leaf, 1]
        cx, cy, radius = cos * px - sin * py + x, sin * px + cos * py + y, geometry.circle_radius[leaf]
        box = (cx - radius, cy - radius, cx + radius, cy + radius)
        return _Leaf(box, [], (cx, cy, radius), jnp.asarray(True))
    corners = []
    for (px, py), (nx, ny) in zip(
        geometry.polygon_vertices[leaf - circles], geometry.polygon_normals[leaf - circles], strict=True
    ):
        turned = (cos * px - sin * py + x, sin * px + cos * py + y)
        corners.append((*turned, cos * nx - sin * ny, sin * nx + cos * ny))
    left = right = corners[0][0]
    bottom = top = corners[0][1]
    for vx, vy, *_ in corners[1:]:
        left, right = jnp.minimum(left, vx), jnp.maximum(right, vx)
        bottom, top = jnp.minimum(bottom, vy), jnp.maximum(top, vy)
    return _Leaf((left, bottom, right, top), corners, None, geometry.polygon_mask[leaf - circles])


def _close(first, second):
    """Whether two shapes, the second a polygon, may touch."""
    a, b = first.box, second.box
    close = first.present & second.present
    close = close & (a[0] <= b[2]) & (b[0] <= a[2]) & (a[1] <= b[3]) & (b[1] <= a[3])
    if first.circle is None:
        return close
    x, y, radius = first.circle
    for vx, vy, nx, ny in second.corners:
        close = close & (nx * (x - vx) + ny * (y - vy) <= radius + _SLACK)
    return close


def _close_to_wall(geometry, segment, polygon):
    (x0, y0), (x1, y1) = geometry.segment_ends[segment]
    thick = geometry.segment_radius[segment]
    left, right = jnp.minimum(x0, x1) - thick, jnp.maximum(x0, x1) + thick
    bottom, top = jnp.minimum(y0, y1) - thick, jnp.maximum(y0, y1) + thick
    box = polygon.box
    return polygon.present & (box[0] <= right) & (left <= box[2]) & (box[1] <= top) & (bottom <= box[3])
