"""One step of the physics: move, find contacts, solve them by sequential impulses.

The order of operations, the split between velocity and position correction, and the life of a remembered contact are
those of Munk2D, so that trajectories agree with pymunk to rounding. Contacts are frictionless and inelastic, which
is what every task of the reference uses.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from envs_mjx.rigid2d import narrow, ordering
from envs_mjx.rigid2d.batching import max_in_batch, where_needed
from envs_mjx.rigid2d.coast import coast
from envs_mjx.rigid2d.indexing import pick, swap_halves
from envs_mjx.rigid2d.solver import solve
from envs_mjx.rigid2d.types import Bodies, ContactCache, Contacts, Geometry, PhysicsState, World

Drive = Callable[[Bodies, Any], Bodies]
"""Sets the velocities of the bodies that contacts do not move."""


def rest(world: World, geometry: Geometry, bodies: Bodies) -> PhysicsState:
    """A scene that was just built: no remembered contacts, shapes added in index order."""
    dtype = bodies.position.dtype
    slots, pairs = world.num_slots, world.num_pairs
    tree = None
    if world.ordered:
        placed = narrow.place(world, geometry, bodies)
        tree = ordering.plant(placed.boxes, _present(world, geometry))
    return PhysicsState(
        bodies=bodies,
        cache=ContactCache(
            feature=jnp.full((slots,), -1, jnp.int32),
            impulse=jnp.zeros((slots,), dtype),
            age=jnp.full((pairs,), world.collision_persistence, jnp.int32),
        ),
        tree=tree,
    )


def step(world: World, geometry: Geometry, state: PhysicsState, dt: float) -> PhysicsState:
    """Advance the scene by `dt` seconds.

    Args:
        world: Fixed structure of the scene.
        geometry: Shapes and inertias.
        state: Bodies and remembered contacts.
        dt: Duration in s, the same at every step (cached impulses are not rescaled).

    Returns:
        The state after the step.
    """
    return march(world, geometry, state, dt, 1)[0]


def contacts(world: World, geometry: Geometry, state: PhysicsState) -> Contacts:
    """The contacts that the last step solved; solving them has changed no position yet.

    Args:
        world: Fixed structure of the scene.
        geometry: Shapes and inertias.
        state: As a step returned it.
    """
    found = narrow.find_contacts(world, geometry, narrow.place(world, geometry, state.bodies))
    return found.replace(active=state.cache.active(world), feature=state.cache.feature)


def march(
    world: World,
    geometry: Geometry,
    state: PhysicsState,
    dt: float,
    steps: int,
    drive: Drive = lambda bodies, control: bodies,
    control: Any = None,
    wanted: Bool[Array, ""] | None = None,
    coasting: bool = True,
) -> tuple[PhysicsState, Int[Array, ""]]:
    """Several steps in a row. In a batch, the scenes in which nothing touches during all of them cost little.

    Args:
        world: Fixed structure of the scene.
        geometry: Shapes and inertias.
        state: Bodies and remembered contacts.
        dt: Duration of a step in s.
        steps: Number of steps, at least 1.
        drive: Sets velocities before every step, `drive(bodies, control)`. It holds no traced values of its own.
        control: Second argument of `drive`.
        wanted: Whether the result of this scene is looked at; if not it is wrong, and costs little in a batch.
        coasting: Look for scenes in which nothing touches; `drive` may then look at and change only the bodies that
            contacts do not move. Without, every scene takes the steps one by one.

    Returns:
        The state after the last step, and the number of contact points summed over the steps.
    """

    def advance(operand):
        geometry, state, control = operand

        def body(_, carry):
            state, points = carry
            state, found = _step(world, geometry, state.replace(bodies=drive(state.bodies, control)), dt)
            return state, points + found.active.sum(dtype=jnp.int32)

        return _repeat(steps, body, (state, jnp.zeros((), jnp.int32)))

    operand = (geometry, state, control)
    if world.differentiable or not coasting:
        return advance(operand)
    coasted, undisturbed = coast(world, geometry, state, dt, steps, lambda bodies: drive(bodies, control))
    needed = ~undisturbed if wanted is None else ~undisturbed & wanted
    effort = state.cache.active(world).sum(dtype=jnp.int32)
    return where_needed(needed, effort, advance, operand, (coasted, jnp.zeros((), jnp.int32)))


def integrate(bodies: Bodies, dt: float) -> Bodies:
    """Move by velocity and position correction, and forget the correction."""
    return bodies.replace(
        position=bodies.position + (bodies.velocity + bodies.bias_velocity) * dt,
        angle=bodies.angle + (bodies.angular_velocity + bodies.bias_angular_velocity) * dt,
        bias_velocity=jnp.zeros_like(bodies.bias_velocity),
        bias_angular_velocity=jnp.zeros_like(bodies.bias_angular_velocity),
    )


def _repeat(steps, body, carry):
    return body(0, carry) if steps == 1 else jax.lax.fori_loop(0, steps, body, carry)


def _step(world: World, geometry: Geometry, state: PhysicsState, dt: float) -> tuple[PhysicsState, Contacts]:
    """One step whatever happens in it, and the contacts that it solved."""
    bodies = integrate(state.bodies, dt)
    placed = narrow.place(world, geometry, bodies)
    found = narrow.find_contacts(world, geometry, placed)
    impulse, warm, age = _recall(world, state.cache, found)
    order = world.update_order if geometry.update_order is None else geometry.update_order
    tree, rank = _visit_order(world, order, state.tree, placed, bodies, found, age)
    bodies, impulse = solve(world, geometry, bodies, found, impulse, warm, rank, dt)
    renewed = pick(age, world.slot_pair) == 0
    cache = ContactCache(
        feature=jnp.where(renewed, found.feature, state.cache.feature),
        impulse=jnp.where(renewed, impulse, state.cache.impulse),
        age=age,
    )
    return PhysicsState(bodies=bodies, cache=cache, tree=tree), found


def _present(world, geometry):
    return jnp.concatenate([jnp.ones((len(world.circles),), bool), geometry.polygon_mask])


def _recall(world: World, cache: ContactCache, contacts: Contacts):
    """Match contacts with remembered ones.

    Returns the accumulated impulse to start from [slots], whether it is applied at once [slots] (only pairs that also
    touched in the last step), and the new ages [pairs].
    """
    single, slots = len(world.circle_polygon), world.num_slots
    age = pick(cache.age, world.slot_pair)
    recalled = jnp.where(contacts.feature == cache.feature, cache.impulse, 0.0)
    # In a pair with two slots a feature may come back in the other slot.
    swapped = (contacts.feature == swap_halves(cache.feature, single)) & (np.arange(slots) >= single)
    recalled = jnp.where(swapped, swap_halves(cache.impulse, single), recalled)
    impulse = jnp.where(contacts.active & (age < world.collision_persistence), recalled, 0.0)
    warm = contacts.active & (age == 0)
    doubled = contacts.active[single:].reshape(-1, 2)
    touching = jnp.concatenate([contacts.active[:single], jnp.any(doubled, axis=1)])
    return impulse, warm, jnp.where(touching, 0, jnp.minimum(cache.age + 1, world.collision_persistence))


def _visit_order(
    world, update_order, tree, placed, bodies, contacts, age
) -> tuple[ordering.LeafTree | None, Int[Array, " slots"]]:
    """The tree of this step, and the rank of every active slot in the solver's order."""
    in_order = jnp.cumsum(contacts.active, dtype=jnp.int32) - 1
    if not world.ordered:
        return tree, in_order
    ranks = ordering.static_ranks(world.static_boxes)
    velocity = [(bodies.velocity[owner, 0], bodies.velocity[owner, 1]) for owner in world.circles + world.polygons]
    boxes = [tuple(placed.boxes[i, k] for k in range(4)) for i in range(placed.boxes.shape[0])]
    nodes, moved = ordering.advance(ordering.unpack(tree), boxes, velocity, update_order)
    tree = ordering.pack(nodes)

    single = len(world.circle_polygon)
    doubled = contacts.active[single:].reshape(-1, 2)

    def by_tree():
        first, second, swapped = _pair_keys(world, ordering.order(tree, jnp.stack(moved), ranks))
        earlier = (first[:, None] < first[None, :]) | (
            (first[:, None] == first[None, :]) & (second[:, None] < second[None, :])
        )
        points = jnp.concatenate([contacts.active[:single].astype(jnp.int32), doubled.sum(axis=1, dtype=jnp.int32)])
        base = jnp.where(earlier, points[:, None], 0).sum(axis=0, dtype=jnp.int32)
        before = jnp.where(swapped[:, None], doubled & np.array([[False, True]]), doubled & np.array([[True, False]]))
        within = base[single:, None] + before[:, ::-1]
        return jnp.concatenate([base[:single], within.reshape(-1)])

    # One pair alone is in order as it stands, unless its two contacts may be swapped.
    competing = contacts.active if world.polygon_polygon else age == 0
    crowded = max_in_batch(competing.sum(dtype=jnp.int32)) > 1
    return tree, jax.lax.cond(crowded, by_tree, lambda: in_order)


def _pair_keys(world, keys: ordering.Order):
    """Sort keys of every pair, in the order of the world's pairs, and whether a two-contact pair is swapped."""
    circles = len(world.circles)
    leaves = circles + len(world.polygons)
    index = {pair: p for p, pair in enumerate(ordering.leaf_pairs(leaves))}
    round_pairs = [index[i, circles + j] for i, j in world.circle_polygon]
    flat_pairs = [index[circles + i, circles + j] for i, j in world.polygon_polygon]
    walls = [(i, circles + j) for i, j in world.segment_polygon]
    of_wall = [wall * leaves + leaf for wall, leaf in walls]
    first = [(keys.pair_first, round_pairs), (keys.wall_first, [leaf for _, leaf in walls])]
    second = [(keys.pair_second, round_pairs), (keys.wall_second.reshape(-1), of_wall)]
    columns = [*first, (keys.pair_first, flat_pairs)], [*second, (keys.pair_second, flat_pairs)]
    sorted_by = [jnp.concatenate([pick(x, which) for x, which in column if which]) for column in columns]
    still = jnp.zeros((len(walls),), bool)
    swapped = jnp.concatenate([still, pick(keys.pair_swapped, flat_pairs)]) if flat_pairs else still
    return *sorted_by, swapped
