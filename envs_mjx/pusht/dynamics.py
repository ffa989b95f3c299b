"""PushT's physics: a kinematic disc under PD control pushes a quasi-static block inside four walls.

Source: reference, envs/pusht/env.py (`_setup`, `_set_state`, `step`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from envs_mjx import rigid2d
from envs_mjx.pusht import shapes

AGENT, BLOCK = 0, 1
WINDOW = 512
ACTION_SCALE = 100.0
TIME_STEP = 0.01
SUBSTEPS = 10
_STIFFNESS, _DAMPING = 100.0, 20.0
WALLS = np.array([[[5, 506], [5, 5]], [[5, 5], [506, 5]], [[506, 5], [506, 506]], [[5, 506], [506, 506]]], float)
WALL_RADIUS = 2.0

_PARTS = range(shapes.MAX_PARTS)
WORLD = rigid2d.World(
    dynamic=(BLOCK,),
    circles=(AGENT,),
    polygons=(BLOCK,) * shapes.MAX_PARTS,
    segments=(rigid2d.STATIC,) * len(WALLS),
    circle_polygon=tuple((0, part) for part in _PARTS),
    segment_polygon=tuple((wall, part) for part in _PARTS for wall in range(len(WALLS))),
    static_boxes=tuple((*(ends.min(0) - WALL_RADIUS), *(ends.max(0) + WALL_RADIUS)) for ends in WALLS),
    update_order=(1, 2, 3, 0),
    damping=0.0,
)
"""The agent is driven, the block yields, and a dynamic body keeps no velocity of its own between steps."""


def geometry(block: shapes.Shape, agent_scale: Float[Array, ""]) -> rigid2d.Geometry:
    """Shapes and inertias of a scene, in px."""
    dtype = block.vertices.dtype
    vertices = block.vertices - block.center_of_gravity[None, None, :]
    return rigid2d.Geometry(
        inverse_mass=jnp.array([0.0, 1.0], dtype),
        inverse_inertia=jnp.stack([jnp.zeros((), dtype), 1.0 / block.inertia]),
        circle_center=jnp.zeros((1, 2), dtype),
        circle_radius=(shapes.CIRCLE_RADIUS * agent_scale)[None],
        polygon_vertices=vertices,
        polygon_normals=rigid2d.polygon_normals(vertices),
        polygon_mask=block.mask,
        segment_ends=jnp.asarray(WALLS, dtype),
        segment_radius=jnp.full((len(WALLS),), WALL_RADIUS, dtype),
    )


def build(
    block: shapes.Shape,
    scene: rigid2d.Geometry,
    agent_position: Float[Array, "2"],
    block_position: Float[Array, "2"],
    block_angle: Float[Array, ""],
) -> rigid2d.PhysicsState:
    """The scene just after it was built, nothing moving."""
    dtype = scene.inverse_mass.dtype
    bodies = rigid2d.Bodies(
        position=jnp.stack([agent_position, block_position + _rotate(block_angle, block.center_of_gravity)]),
        angle=jnp.stack([jnp.zeros((), dtype), block_angle]),
        velocity=jnp.zeros((2, 2), dtype),
        angular_velocity=jnp.zeros((2,), dtype),
        bias_velocity=jnp.zeros((2, 2), dtype),
        bias_angular_velocity=jnp.zeros((2,), dtype),
    )
    return rigid2d.rest(WORLD, scene, bodies)


def place(
    physics: rigid2d.PhysicsState, block: shapes.Shape, scene: rigid2d.Geometry, state: Float[Array, "7"]
) -> rigid2d.PhysicsState:
    """Move the bodies to a state vector and take one physics step, as the reference does.

    The block keeps its velocities and position correction, and remembered contacts stay.

    Args:
        physics: The scene before.
        block: The block's shape.
        scene: The scene's geometry.
        state: Agent x, y; block x, y (its origin); block angle; agent velocity x, y (px, rad, px/s).
    """
    bodies = physics.bodies
    moved = bodies.replace(
        position=jnp.stack([state[:2], state[2:4] + _rotate(state[4], block.center_of_gravity)]),
        angle=jnp.stack([bodies.angle[AGENT], state[4]]),
        velocity=jnp.stack([state[5:7], bodies.velocity[BLOCK]]),
    )
    return rigid2d.step(WORLD, scene, physics.replace(bodies=moved), TIME_STEP)


def control_step(
    physics: rigid2d.PhysicsState, scene: rigid2d.Geometry, action: Float[Array, "2"], relative: bool
) -> tuple[rigid2d.PhysicsState, Int[Array, ""]]:
    """One control step: ten physics steps towards a target that is fixed at the start.

    The reference computes the target and the agent's velocity in float32 whatever the rest runs in; so does this.

    Returns:
        The scene after, and the number of contact points summed over the physics steps.
    """
    dtype = physics.bodies.position.dtype
    action = action.astype(jnp.float32).astype(dtype)
    start = _single(physics.bodies.position[AGENT])
    target = _single(start + _single(action * ACTION_SCALE)) if relative else action

    return rigid2d.march(WORLD, scene, physics, TIME_STEP, SUBSTEPS, _pull, target)


def _pull(bodies: rigid2d.Bodies, target: Float[Array, "2"]) -> rigid2d.Bodies:
    """PD control of the agent's velocity towards the target."""
    velocity = bodies.velocity[AGENT]
    pull = _single(_STIFFNESS * _single(target - _single(bodies.position[AGENT])))
    acceleration = _single(pull + _single(_DAMPING * -velocity))
    gain = _single(acceleration * np.float32(TIME_STEP).astype(float))
    driven = _single(_single(velocity) + gain)
    return bodies.replace(velocity=jnp.stack([driven, bodies.velocity[BLOCK]]))


def block_origin(physics: rigid2d.PhysicsState, block: shapes.Shape) -> Float[Array, "2"]:
    """Position of the block's origin in px (its centre of gravity lies elsewhere)."""
    return physics.bodies.position[BLOCK] - _rotate(physics.bodies.angle[BLOCK], block.center_of_gravity)


def state_vector(physics: rigid2d.PhysicsState, block: shapes.Shape) -> Float[Array, "7"]:
    """Agent x, y; block x, y; block angle in [0, 2 pi); agent velocity x, y."""
    bodies = physics.bodies
    angle = jnp.mod(bodies.angle[BLOCK], 2 * jnp.pi)
    # An angle just below zero wraps to the full turn, which float32 rounds to above the observation's bound.
    full_turn = np.asarray(2 * np.pi, angle.dtype)
    below = full_turn if float(full_turn) <= 2 * np.pi else np.nextafter(full_turn, np.asarray(0, angle.dtype))
    angle = jnp.minimum(angle, below)
    return jnp.concatenate([bodies.position[AGENT], block_origin(physics, block), angle[None], bodies.velocity[AGENT]])


def _rotate(angle, vector):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def _single(x):
    """Round to float32 in place: a float64 operation rounded so equals the float32 operation exactly.

    A cast to float32 and back would not do: XLA may keep the excess precision.
    """
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=23)
