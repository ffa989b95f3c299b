"""Steps of a scene in which nothing touches: circles are driven, the polygons stand still.

Most scenes of a batch are like this most of the time, so that this is written for speed: nothing is in the loop that
does not change.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from envs_mjx.rigid2d import narrow, ordering
from envs_mjx.rigid2d.indexing import pick
from envs_mjx.rigid2d.types import Bodies, Geometry, PhysicsState, World

_SLACK = 0.01
"""Distance in px below which shapes may touch: far above rounding."""


def coast(
    world: World, geometry: Geometry, state: PhysicsState, dt: float, steps: int, drive: Callable[[Bodies], Bodies]
) -> tuple[PhysicsState, Bool[Array, " L"]]:
    """The state after some steps of scenes whose dynamic bodies stand still and touch nothing.

    Args:
        world: Fixed structure of the scenes, one that `coasts`.
        geometry: Shapes and inertias.
        state: The scenes before.
        dt: Duration of a step in s.
        steps: Number of steps.
        drive: Sets the velocities of bodies that are not dynamic, before every step.

    Returns:
        The state after the steps, and which scenes are of this kind; the state of the others is wrong.
    """
    circles, start = len(world.circles), state.bodies
    driven = np.array([body not in world.dynamic for body in range(start.angle.shape[0])])[:, None]
    update_order = tuple(leaf for leaf in world.update_order if leaf < circles)
    placed = narrow.place(world, geometry, start)
    near = narrow.near_pairs(world, geometry, placed)
    owners = world.circles + world.polygons

    def body(_, carry):
        bodies, tree, quiet = carry
        bodies = drive(bodies)
        bodies = bodies.replace(
            position=jnp.where(driven[:, :, None], bodies.position + bodies.velocity * dt, start.position),
            angle=jnp.where(driven, bodies.angle + bodies.angular_velocity * dt, start.angle),
        )
        centers, boxes = narrow.place_circles(world, geometry, bodies)
        quiet = quiet & ~_close(world, geometry, placed, centers, boxes)
        if tree is not None:
            boxes = jnp.concatenate([boxes, placed.polygon_boxes])
            tree, moved = ordering.advance(tree, boxes, pick(bodies.velocity, owners), update_order)
            quiet = quiet & ~moved[circles:].any(axis=0)
        return bodies, tree, quiet

    quiet = _still(world, start) & ~(near.segment_polygon.any(axis=0) | near.polygon_polygon.any(axis=0))
    carry = (start, state.tree, quiet)
    bodies, tree, quiet = body(0, carry) if steps == 1 else jax.lax.fori_loop(0, steps, body, carry)
    age = jnp.minimum(state.cache.age + steps, world.collision_persistence)
    return PhysicsState(bodies=bodies, cache=state.cache.replace(age=age), tree=tree), quiet


def _still(world: World, bodies: Bodies) -> Bool[Array, " L"]:
    velocity = pick(bodies.velocity, world.dynamic)
    spin = pick(bodies.angular_velocity, world.dynamic)
    bias, bias_spin = bodies.bias_velocity, bodies.bias_angular_velocity
    return ~((velocity != 0).any(axis=(0, 1)) | (bias != 0).any(axis=(0, 1)) | (spin != 0).any(axis=0)) & ~(
        bias_spin != 0
    ).any(axis=0)


def _close(
    world: World,
    geometry: Geometry,
    placed: narrow.Placed,
    centers: Float[Array, "circles 2 L"],
    boxes: Float[Array, "circles 4 L"],
) -> Bool[Array, " L"]:
    """Whether a circle may touch a polygon."""
    if not world.circle_polygon:
        return jnp.zeros(centers.shape[-1:], bool)
    first, second = np.array(world.circle_polygon, np.int32).T
    polygons, x, y = pick(placed.polygons, second), *(pick(centers, first)[:, axis, None] for axis in (0, 1))
    beyond = polygons[:, 2] * (x - polygons[:, 0]) + polygons[:, 3] * (y - polygons[:, 1])
    within = beyond <= pick(geometry.circle_radius, first)[:, None] + _SLACK
    over = narrow.overlap(pick(boxes, first), pick(placed.polygon_boxes, second))
    return (over & within.all(axis=1) & pick(geometry.polygon_mask, second)).any(axis=0)
