"""PushT's physics: an agent under PD control pushes a quasi-static block inside four walls.

A round agent is kinematic: it follows its control through walls. An agent of any other shape is a body like the block.
These are two worlds over the same bodies; every row of a batch lives in one of them, and the steps in the other are
not taken. Each has its own memory (remembered contacts, the engine's tree) in the state, whose structure is the same
for all rows.

Source: reference, envs/pusht/env.py (`_setup`, `_set_state`, `step`).
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx import rigid2d
from envs_mjx.pusht import shapes
from envs_mjx.rigid2d.batching import over_lanes, where_needed
from envs_mjx.rigid2d.ordering import LeafTree

AGENT, BLOCK = 0, 1
WINDOW = 512
ACTION_SCALE = 100.0
TIME_STEP = 0.01
SUBSTEPS = 10
_STIFFNESS, _DAMPING = 100.0, 20.0
WALLS = np.array([[[5, 506], [5, 5]], [[5, 5], [506, 5]], [[506, 5], [506, 506]], [[5, 506], [506, 506]]], float)
WALL_RADIUS = 2.0
# The engine's number of the first moving shape, and the sizes of its table of them before and from five entries on.
_FIRST_ID, _TABLE, _LARGE_TABLE = len(WALLS), 5, 13

_PARTS = range(shapes.MAX_PARTS)
_BOTH_PARTS = range(2 * shapes.MAX_PARTS)
_DISC = rigid2d.World(
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
_POLYGON = dataclasses.replace(
    _DISC,
    dynamic=(AGENT, BLOCK),
    circles=(),
    polygons=(AGENT,) * shapes.MAX_PARTS + (BLOCK,) * shapes.MAX_PARTS,
    circle_polygon=(),
    segment_polygon=tuple((wall, part) for part in _BOTH_PARTS for wall in range(len(WALLS))),
    polygon_polygon=tuple((one, shapes.MAX_PARTS + other) for one in _PARTS for other in _PARTS),
    update_order=tuple(_BOTH_PARTS),
)


class Memory(NamedTuple):
    """What the engine remembers of one world between steps."""

    cache: rigid2d.ContactCache
    tree: LeafTree | None


@chex.dataclass(frozen=True)
class Physics:
    """Bodies (agent, block) and the memory of both worlds, of which a row uses one."""

    bodies: rigid2d.Bodies
    disc: Memory
    polygon: Memory


class Scene(NamedTuple):
    """What the factors of variation fix for an episode.

    Attributes:
        agent: Shape of the agent; nothing exists of it if it is round.
        block: Shape of the block.
        agent_is_disc: Whether the agent is round.
        radius: Radius of a round agent (px).
    """

    agent: shapes.Shape
    block: shapes.Shape
    agent_is_disc: Bool[Array, "*lanes"]
    radius: Float[Array, "*lanes"]

    def shape(self, body: int) -> shapes.Shape:
        """Shape of a body."""
        return (self.agent, self.block)[body]


@dataclass(frozen=True)
class Rules:
    """What the constructor of the environment fixes.

    Attributes:
        damping: Fraction of its velocity that a dynamic body keeps in one second; the default forgets it at once.
        block_cog: Centre of gravity of the block relative to its origin, px; its shape's own when None.
        differentiable: Take every step of both worlds in loops of static length, which reverse mode needs.
        polygons: Whether an agent may be a polygon; without, programs have only one of the two worlds.
    """

    damping: float = 0.0
    block_cog: tuple[float, float] | None = None
    differentiable: bool = False
    polygons: bool = True

    @functools.cached_property
    def worlds(self) -> tuple[rigid2d.World, rigid2d.World]:
        """The world with a round agent and the one with a polygonal agent."""
        disc, polygon = (
            dataclasses.replace(world, damping=self.damping, differentiable=self.differentiable)
            for world in (_DISC, _POLYGON)
        )
        return disc, polygon

    def scene(self, factors: Mapping[str, Array]) -> Scene:
        """Shapes and inertias in px."""
        dtype = factors["block.angle"].dtype
        agent, block = _shapes(factors)
        if self.block_cog is not None:
            block = block._replace(center_of_gravity=jnp.asarray(self.block_cog, dtype))
        is_disc = factors["agent.shape"] == shapes.CIRCLE
        return Scene(agent, block, is_disc, shapes.CIRCLE_RADIUS * factors["agent.scale"].astype(dtype))

    def build(self, scene: Scene, factors: Mapping[str, Array]) -> Physics:
        """The scene just after it was built from the initial factors, nothing moving."""
        dtype = scene.radius.dtype
        angle = jnp.stack([jnp.where(scene.agent_is_disc, 0.0, factors["agent.angle"]), factors["block.angle"]])
        position = []
        for body, (name, shape) in enumerate(zip(("agent", "block"), _shapes(factors), strict=True)):
            # The reference turns a body after it has placed it, and bodies turn about their own centre of gravity.
            center = shape.center_of_gravity
            corner = factors[f"{name}.start_position"] + center - _rotate(angle[body], center)
            position.append(corner + _rotate(angle[body], scene.shape(body).center_of_gravity))
        bodies = rigid2d.Bodies(
            position=jnp.stack(position),
            angle=angle,
            velocity=jnp.zeros((2, 2), dtype),
            angular_velocity=jnp.zeros((2,), dtype),
            bias_velocity=jnp.zeros((2, 2), dtype),
            bias_angular_velocity=jnp.zeros((2,), dtype),
        )
        disc, polygon = (
            rigid2d.rest(world, geometry, bodies)
            for world, geometry in zip(
                self.worlds, (_disc_geometry(scene), _polygon_geometry(scene.agent, scene.block)), strict=True
            )
        )
        return Physics(bodies=bodies, disc=Memory(disc.cache, disc.tree), polygon=Memory(polygon.cache, polygon.tree))

    def place(self, physics: Physics, scene: Scene, state: Float[Array, "7"]) -> tuple[Physics, Int[Array, ""]]:
        """Move the bodies to a state vector and take one physics step, as the reference does.

        The block keeps its velocities and position correction, and remembered contacts stay. The agent keeps its angle.

        Args:
            physics: The scene before.
            scene: Shapes and inertias.
            state: Agent x, y; block x, y (its origin); block angle; agent velocity x, y (px, rad, px/s).

        Returns:
            The scene after, and its number of contact points.
        """
        bodies = physics.bodies
        angle = jnp.stack([bodies.angle[AGENT], state[4]])
        position = [
            state[:2] + _rotate(angle[AGENT], scene.agent.center_of_gravity),
            state[2:4] + _rotate(angle[BLOCK], scene.block.center_of_gravity),
        ]
        moved = bodies.replace(
            position=jnp.stack(position),
            angle=angle,
            velocity=jnp.stack([state[5:7], bodies.velocity[BLOCK]]),
        )
        return self._march(physics.replace(bodies=moved), scene, 1, _let_go, None)

    def control_step(
        self, physics: Physics, scene: Scene, action: Float[Array, "2"], relative: bool
    ) -> tuple[Physics, Int[Array, ""]]:
        """One control step: ten physics steps towards a target that is fixed at the start.

        The reference computes the target and the agent's velocity in float32 whatever the rest runs in; so does this.

        Returns:
            The scene after, and the number of contact points summed over the physics steps.
        """
        action = action.astype(jnp.float32).astype(physics.bodies.position.dtype)
        start = _single(origin(physics.bodies, AGENT, scene.agent))
        target = _single(start + _single(action * ACTION_SCALE)) if relative else action
        return self._march(physics, scene, SUBSTEPS, _pull, target)

    def contacts(self, physics: Physics, scene: Scene) -> rigid2d.Contacts:
        """The contacts that the last physics step solved, those of a round agent's world first."""
        if not self.polygons:
            return rigid2d.contacts(self.worlds[0], _disc_geometry(scene), _state(physics.bodies, physics.disc))
        geometries = (_disc_geometry(scene), _polygon_geometry(scene.agent, scene.block))
        memories, mine = (physics.disc, physics.polygon), (scene.agent_is_disc, ~scene.agent_is_disc)
        found = []
        for world, geometry, memory, used in zip(self.worlds, geometries, memories, mine, strict=True):
            of_world = rigid2d.contacts(world, geometry, _state(physics.bodies, memory))
            found.append(of_world.replace(active=of_world.active & used))
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)

    def _march(self, physics, scene, steps, drive, target):
        """Some physics steps in the world that the row lives in."""
        return over_lanes(
            Rules._march_lanes, (self, steps, drive), physics, scene, target, differentiable=self.differentiable
        )

    def _march_lanes(self, steps, drive, physics, scene, target):
        # A single step is taken at resets: not worth a larger program that passes over rows.
        sparing = steps > 1 and not self.differentiable
        of_disc, of_polygon = self.worlds
        start = _state(physics.bodies, physics.disc)
        # The control of a disc does not look at what contacts move.
        control = (target, jnp.zeros_like(scene.agent.center_of_gravity))
        is_disc = scene.agent_is_disc
        geometry = _disc_geometry(scene)
        disc, points = rigid2d.march(of_disc, geometry, start, TIME_STEP, steps, drive, control, is_disc, sparing)
        if not self.polygons:
            return physics.replace(bodies=disc.bodies, disc=Memory(disc.cache, disc.tree)), points

        def by_polygon(operand):
            agent, block, state, target = operand
            geometry, control = _polygon_geometry(agent, block), (target, agent.center_of_gravity)
            return rigid2d.march(of_polygon, geometry, state, TIME_STEP, steps, drive, control)

        start = _state(physics.bodies, physics.polygon)
        operand, other = (scene.agent, scene.block, start, target), (start.replace(bodies=disc.bodies), points)
        effort = start.cache.active(of_polygon).sum(axis=0, dtype=jnp.int32)
        polygon, points = where_needed(~is_disc, effort, by_polygon, operand, other, sparing)
        disc_memory, polygon_memory = (Memory(state.cache, state.tree) for state in (disc, polygon))
        return Physics(bodies=polygon.bodies, disc=disc_memory, polygon=polygon_memory), points


def origin(bodies: rigid2d.Bodies, body: int, shape: shapes.Shape) -> Float[Array, "2"]:
    """Position of a body's origin in px (its centre of gravity lies elsewhere)."""
    return bodies.position[body] - _rotate(bodies.angle[body], shape.center_of_gravity)


def state_vector(bodies: rigid2d.Bodies, scene: Scene) -> Float[Array, "7"]:
    """Agent x, y; block x, y; block angle in [0, 2 pi); agent velocity x, y."""
    angle = jnp.mod(bodies.angle[BLOCK], 2 * jnp.pi)
    # An angle just below zero wraps to the full turn, which float32 rounds to above the observation's bound.
    full_turn = np.asarray(2 * np.pi, angle.dtype)
    below = full_turn if float(full_turn) <= 2 * np.pi else np.nextafter(full_turn, np.asarray(0, angle.dtype))
    angle = jnp.minimum(angle, below)
    places = [origin(bodies, AGENT, scene.agent), origin(bodies, BLOCK, scene.block)]
    return jnp.concatenate([*places, angle[None], bodies.velocity[AGENT]])


def _pull(bodies: rigid2d.Bodies, control: tuple[Float[Array, "2 L"], Float[Array, "2 L"]]) -> rigid2d.Bodies:
    """PD control of the agent's velocity towards the target; `control` also has the agent's centre of gravity."""
    target, center = control
    place = bodies.position[AGENT] - _rotate(bodies.angle[AGENT], center)
    velocity = bodies.velocity[AGENT]
    pull = _single(_STIFFNESS * _single(target - _single(place)))
    acceleration = _single(pull + _single(_DAMPING * -velocity))
    gain = _single(acceleration * np.float32(TIME_STEP).astype(float))
    driven = _single(_single(velocity) + gain)
    return bodies.replace(velocity=jnp.stack([driven, bodies.velocity[BLOCK]]))


def _let_go(bodies, control):
    return bodies


def _shapes(factors):
    """Shapes of agent and block as the reference builds them."""
    dtype = factors["block.angle"].dtype
    return [
        shapes.shape(factors[f"{name}.shape"], factors[f"{name}.scale"].astype(dtype)) for name in ("agent", "block")
    ]


def _state(bodies, memory):
    return rigid2d.PhysicsState(bodies=bodies, cache=memory.cache, tree=memory.tree)


def _geometry(bodies, circle_radius, inverse_mass, **more):
    """Geometry of the parts of some bodies, the last ones of the world, and of the walls; any axes may follow."""
    vertices = jnp.concatenate([shape.vertices - shape.center_of_gravity[None, None] for shape in bodies])
    dtype, lanes = vertices.dtype, vertices.shape[3:]
    still = [jnp.zeros(lanes, dtype)] * (len(inverse_mass) - len(bodies))

    def everywhere(values):
        values = np.asarray(values, dtype)
        return jnp.broadcast_to(values.reshape(*values.shape, *[1] * len(lanes)), (*values.shape, *lanes))

    return rigid2d.Geometry(
        inverse_mass=everywhere(inverse_mass),
        inverse_inertia=jnp.stack([*still, *(1.0 / shape.inertia for shape in bodies)]),
        circle_center=jnp.zeros((circle_radius.shape[0], 2, *lanes), dtype),
        circle_radius=circle_radius,
        polygon_vertices=vertices,
        polygon_normals=rigid2d.polygon_normals(vertices),
        polygon_mask=jnp.concatenate([shape.mask for shape in bodies]),
        segment_ends=everywhere(WALLS),
        segment_radius=everywhere(np.full(len(WALLS), WALL_RADIUS)),
        **more,
    )


def _disc_geometry(scene):
    return _geometry([scene.block], scene.radius[None], inverse_mass=(0.0, 1.0))


def _polygon_geometry(agent, block):
    no_circles = jnp.zeros((0, *agent.inertia.shape), agent.vertices.dtype)
    order = _update_order(agent.mask, block.mask)
    return _geometry([agent, block], no_circles, inverse_mass=(1.0, 1.0), update_order=order)


def _update_order(agent_mask, block_mask):
    """Order in which the engine updates the parts: by their numbers, agent first, modulo the size of its table."""
    agents, blocks = (mask.sum(axis=0, keepdims=True, dtype=jnp.int32) for mask in (agent_mask, block_mask))
    parts = np.arange(shapes.MAX_PARTS, dtype=np.int32).reshape(-1, *[1] * (agents.ndim - 1))
    place = _FIRST_ID + jnp.concatenate([jnp.broadcast_to(parts, agent_mask.shape), agents + parts])
    place = place % jnp.where(agents + blocks < _TABLE, _TABLE, _LARGE_TABLE)
    # An absent part never moves, so that its place, which may be another's, does not matter.
    numbers = np.arange(len(_BOTH_PARTS), dtype=np.int32).reshape(-1, *[1] * (agents.ndim - 1))
    earlier = (place[None] < place[:, None]) | ((place[None] == place[:, None]) & (numbers[None] < numbers[:, None]))
    turn = earlier.sum(axis=1, dtype=jnp.int32)
    return jnp.where(turn[None] == numbers[:, None], numbers[None], 0).sum(axis=1, dtype=jnp.int32)


def _rotate(angle, vector):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def _single(x):
    """Round to float32 in place: a float64 operation rounded so equals the float32 operation exactly.

    A cast to float32 and back would not do: XLA may keep the excess precision.
    """
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=23)
