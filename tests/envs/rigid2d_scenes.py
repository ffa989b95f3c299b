"""The scenes and collisions of `pymunk_scenes`, played by `rigid2d`."""

import jax
import jax.numpy as jnp
import numpy as np
from envs.pymunk_scenes import DT, WALL_RADIUS, WALLS

from envs_mjx import rigid2d

DISC = 0


def scene_world(blocks: int, damping: float, **options) -> rigid2d.World:
    """A kinematic disc and two convex parts, of one block or of one block each, between the walls."""
    walls = range(len(WALLS))
    # The engine goes through its shapes by their number modulo five; the walls come first.
    visits = sorted(range(3), key=lambda leaf: (len(WALLS) + leaf) % 5)
    return rigid2d.World(
        dynamic=tuple(range(1, blocks + 1)),
        circles=(DISC,),
        polygons=(1, blocks),
        segments=(rigid2d.STATIC,) * len(WALLS),
        circle_polygon=((0, 0), (0, 1)),
        segment_polygon=tuple((wall, part) for part in range(2) for wall in walls),
        polygon_polygon=((0, 1),) if blocks == 2 else (),
        static_boxes=tuple((*(ends.min(0) - WALL_RADIUS), *(ends.max(0) + WALL_RADIUS)) for ends in WALLS),
        update_order=tuple(visits),
        damping=damping,
        **options,
    )


def scene_geometry(scene, dtype) -> rigid2d.Geometry:
    """Shapes and inertias of a scene."""
    parts = jnp.asarray(scene["parts"], dtype)
    still = jnp.zeros((1,), dtype)
    return rigid2d.Geometry(
        inverse_mass=jnp.concatenate([still, 1.0 / jnp.asarray(scene["mass"], dtype)]),
        inverse_inertia=jnp.concatenate([still, 1.0 / jnp.asarray(scene["inertia"], dtype)]),
        circle_center=jnp.zeros((1, 2), dtype),
        circle_radius=jnp.asarray(scene["disc_radius"], dtype)[None],
        polygon_vertices=parts,
        polygon_normals=rigid2d.polygon_normals(parts),
        polygon_mask=jnp.ones((2,), bool),
        segment_ends=jnp.asarray(WALLS, dtype),
        segment_radius=jnp.full((len(WALLS),), WALL_RADIUS, dtype),
    )


def scene_bodies(scene, dtype) -> rigid2d.Bodies:
    """Bodies of a scene at rest."""
    position = jnp.concatenate([jnp.asarray(scene["disc"], dtype)[None], jnp.asarray(scene["position"], dtype)])
    angle = jnp.concatenate([jnp.zeros((1,), dtype), jnp.asarray(scene["angle"], dtype)])
    return rigid2d.Bodies(
        position=position,
        angle=angle,
        velocity=jnp.zeros_like(position),
        angular_velocity=jnp.zeros_like(angle),
        bias_velocity=jnp.zeros_like(position),
        bias_angular_velocity=jnp.zeros_like(angle),
    )


def push(world, geometry, state, velocity) -> rigid2d.PhysicsState:
    """One step with a new velocity of the disc."""
    bodies = state.bodies
    moving = bodies.replace(velocity=bodies.velocity.at[DISC].set(velocity.astype(bodies.velocity.dtype)))
    return rigid2d.step(world, geometry, state.replace(bodies=moving), DT)


def play(world, scene, dtype):
    """Poses [T, blocks, 3] and numbers of contacts [T] of a whole scene."""
    geometry = scene_geometry(scene, dtype)

    def step(state, velocity):
        state = push(world, geometry, state, velocity)
        bodies = state.bodies
        pose = jnp.concatenate([bodies.position[1:], bodies.angle[1:, None]], axis=1)
        return state, (pose, state.cache.active(world).sum())

    start = rigid2d.rest(world, geometry, scene_bodies(scene, dtype))
    return jax.lax.scan(step, start, jnp.asarray(scene["velocity"]))[1]


def polygon(vertices) -> rigid2d.Polygon:
    """A batch of polygons in world coordinates from vertices [n, V, 2]."""
    normals = rigid2d.polygon_normals(vertices)
    return rigid2d.Polygon(*(x[:, :, axis].T for x in (vertices, normals) for axis in (0, 1)))


def collide(kind, cases):
    """Our contacts of a batch of collisions: (count [n], normal [n, 2], points [n, 2, 5] as recorded, in order)."""

    def touch(first, radius, second):
        if kind == "circle":
            return rigid2d.circle_polygon(first[:, 0, 0], first[:, 0, 1], radius, polygon(second))
        sharp = jnp.zeros_like(radius)
        return rigid2d.polygon_polygon(polygon(first), radius, polygon(second), sharp, rounded=kind == "segment")

    found = jax.jit(touch)(*(jnp.asarray(cases[name]) for name in ("first", "radius", "second")))
    normal = np.stack([found.normal_x, found.normal_y], axis=1)
    slots = np.stack([np.stack(point[1:5], axis=1) for point in found.points], axis=1)
    active = np.stack([point[0] for point in found.points], axis=1)
    distance = ((slots[..., 2:] - slots[..., :2]) * normal[:, None]).sum(-1)
    points = np.full((len(normal), 2, 5), np.nan)
    for i, used in enumerate(active):
        points[i, : used.sum()] = np.concatenate([slots[i], distance[i][:, None]], axis=1)[used]
    return active.sum(1), np.where(active.any(1)[:, None], normal, np.nan), points
