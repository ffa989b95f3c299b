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
from envs_mjx.rigid2d.batching import over_lanes, where_needed
from envs_mjx.rigid2d.coast import coast
from envs_mjx.rigid2d.indexing import pick, swap_halves
from envs_mjx.rigid2d.solver import solve
from envs_mjx.rigid2d.types import Bodies, ContactCache, Contacts, Geometry, PhysicsState, World

Drive = Callable[[Bodies, Any], Bodies]
"""Sets the velocities of the bodies that contacts do not move."""


def rest(world: World, geometry: Geometry, bodies: Bodies) -> PhysicsState:
    """A scene that was just built: no remembered contacts, shapes added in index order."""
    slots, pairs = world.num_slots, world.num_pairs
    tree = None
    if world.ordered:
        tree = over_lanes(_plant, (world,), geometry, bodies, differentiable=world.differentiable)
    return PhysicsState(
        bodies=bodies,
        cache=ContactCache(
            feature=jnp.full((slots,), -1, jnp.int32),
            impulse=jnp.zeros((slots,), bodies.position.dtype),
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
    return over_lanes(_march_once, (world, dt), geometry, state, differentiable=world.differentiable)


def contacts(world: World, geometry: Geometry, state: PhysicsState) -> Contacts:
    """The contacts that the last step solved; solving them has changed no position yet.

    Args:
        world: Fixed structure of the scene.
        geometry: Shapes and inertias.
        state: As a step returned it.
    """
    found = over_lanes(_find_contacts, (world,), geometry, state.bodies, differentiable=world.differentiable)
    return found.replace(active=state.cache.active(world), feature=state.cache.feature)


def march(
    world: World,
    geometry: Geometry,
    state: PhysicsState,
    dt: float,
    steps: int,
    drive: Drive = lambda bodies, control: bodies,
    control: Any = None,
    wanted: Bool[Array, " L"] | None = None,
    coasting: bool = True,
) -> tuple[PhysicsState, Int[Array, " L"]]:
    """Several steps in a row of scenes that lie along the last axis of every array; use it in `batching.over_lanes`.

    Args:
        world: Fixed structure of the scenes.
        geometry: Shapes and inertias.
        state: Bodies and remembered contacts.
        dt: Duration of a step in s.
        steps: Number of steps, at least 1.
        drive: Sets velocities before every step, `drive(bodies, control)`.
        control: Second argument of `drive`.
        wanted: Scenes whose results are looked at; the others may be wrong.
        coasting: If the world `coasts`, let scenes that are not wanted, and those in which nothing touches, cost
            little, by a larger program; `drive` then looks at and changes only the bodies that contacts do not move.

    Returns:
        The state after the last step, and the number of contact points summed over the steps.
    """

    def advance(operand):
        geometry, state, control = operand

        def body(_, carry):
            state, points = carry
            state, found = _step(world, geometry, state.replace(bodies=drive(state.bodies, control)), dt)
            return state, points + found.active.sum(axis=0, dtype=jnp.int32)

        carry = (state, jnp.zeros(state.bodies.angle.shape[1:], jnp.int32))
        return body(0, carry) if steps == 1 else jax.lax.fori_loop(0, steps, body, carry)

    operand = (geometry, state, control)
    if world.differentiable or not (coasting and world.coasts):
        return advance(operand)
    coasted, undisturbed = coast(world, geometry, state, dt, steps, lambda bodies: drive(bodies, control))
    needed = ~undisturbed if wanted is None else ~undisturbed & wanted
    effort = state.cache.active(world).sum(axis=0, dtype=jnp.int32)
    return where_needed(needed, effort, advance, operand, (coasted, jnp.zeros_like(effort)))


def integrate(bodies: Bodies, dt: float) -> Bodies:
    """Move by velocity and position correction, and forget the correction."""
    return bodies.replace(
        position=bodies.position + (bodies.velocity + bodies.bias_velocity) * dt,
        angle=bodies.angle + (bodies.angular_velocity + bodies.bias_angular_velocity) * dt,
        bias_velocity=jnp.zeros_like(bodies.bias_velocity),
        bias_angular_velocity=jnp.zeros_like(bodies.bias_angular_velocity),
    )


def _march_once(world, dt, geometry, state):
    return march(world, geometry, state, dt, 1)[0]


def _find_contacts(world, geometry, bodies):
    return narrow.find_contacts(world, geometry, narrow.place(world, geometry, bodies))


def _plant(world, geometry, bodies):
    placed = narrow.place(world, geometry, bodies)
    circles = jnp.ones((len(world.circles), bodies.angle.shape[1]), bool)
    return ordering.plant(_boxes(placed), jnp.concatenate([circles, geometry.polygon_mask]))


def _boxes(placed):
    return jnp.concatenate([placed.circle_boxes, placed.polygon_boxes])


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


def _recall(world: World, cache: ContactCache, contacts: Contacts):
    """Match contacts with remembered ones.

    Returns the accumulated impulse to start from [slots, L], whether it is applied at once [slots, L] (only pairs that
    also touched in the last step), and the new ages [pairs, L].
    """
    single, slots = len(world.circle_polygon), world.num_slots
    age = pick(cache.age, world.slot_pair)
    recalled = jnp.where(contacts.feature == cache.feature, cache.impulse, 0.0)
    # In a pair with two slots a feature may come back in the other slot.
    swapped = (contacts.feature == swap_halves(cache.feature, single)) & (np.arange(slots) >= single)[:, None]
    recalled = jnp.where(swapped, swap_halves(cache.impulse, single), recalled)
    impulse = jnp.where(contacts.active & (age < world.collision_persistence), recalled, 0.0)
    warm = contacts.active & (age == 0)
    touching = jnp.concatenate([contacts.active[:single], _doubled(world, contacts).any(axis=1)])
    return impulse, warm, jnp.where(touching, 0, jnp.minimum(cache.age + 1, world.collision_persistence))


def _doubled(world, contacts):
    """Activity [pairs, 2, L] of the pairs with two slots."""
    active = contacts.active[len(world.circle_polygon) :]
    return active.reshape(-1, 2, active.shape[1])


def _visit_order(
    world, update_order, tree, placed, bodies, contacts, age
) -> tuple[ordering.LeafTree | None, Int[Array, "slots L"]]:
    """The tree of this step, and the rank of every active slot in the solver's order."""
    in_order = jnp.cumsum(contacts.active, axis=0, dtype=jnp.int32) - 1
    if not world.ordered:
        return tree, in_order
    velocity = pick(bodies.velocity, world.circles + world.polygons)
    tree, moved = ordering.advance(tree, _boxes(placed), velocity, update_order)

    def by_tree():
        ranks = ordering.static_ranks(world.static_boxes)
        first, second, swapped = _pair_keys(world, ordering.order(tree, moved, ranks))
        earlier = (first[:, None] < first[None, :]) | (
            (first[:, None] == first[None, :]) & (second[:, None] < second[None, :])
        )
        single, doubled = len(world.circle_polygon), _doubled(world, contacts)
        points = jnp.concatenate([contacts.active[:single].astype(jnp.int32), doubled.sum(axis=1, dtype=jnp.int32)])
        base = jnp.where(earlier, points[:, None], 0).sum(axis=0, dtype=jnp.int32)
        # Of two contacts the second follows the first, or the first the second if they are swapped.
        before = doubled & (swapped[:, None] == np.array([False, True])[None, :, None])
        within = base[single:, None] + before[:, ::-1]
        return jnp.concatenate([base[:single], within.reshape(-1, within.shape[2])])

    # One pair alone is in order as it stands, unless its two contacts may be swapped.
    competing = contacts.active if world.polygon_polygon else age == 0
    crowded = competing.sum(axis=0, dtype=jnp.int32).max() > 1
    return tree, jax.lax.cond(crowded, by_tree, lambda: in_order)


def _pair_keys(world, keys: ordering.Order):
    """Sort keys of every pair, in the order of the world's pairs, and whether a two-contact pair is swapped."""
    circles = len(world.circles)
    leaves = circles + len(world.polygons)
    round_pairs = [leaves * i + circles + j for i, j in world.circle_polygon]
    flat_pairs = [leaves * (circles + i) + circles + j for i, j in world.polygon_polygon]
    walls = [(i, circles + j) for i, j in world.segment_polygon]
    of_wall = [wall * leaves + leaf for wall, leaf in walls]
    lanes = keys.wall_first.shape[1]
    pair_first, pair_second, pair_swapped, wall_second = (
        x.reshape(-1, lanes) for x in (keys.pair_first, keys.pair_second, keys.pair_swapped, keys.wall_second)
    )
    first = [(pair_first, round_pairs), (keys.wall_first, [leaf for _, leaf in walls])]
    second = [(pair_second, round_pairs), (wall_second, of_wall)]
    columns = [*first, (pair_first, flat_pairs)], [*second, (pair_second, flat_pairs)]
    sorted_by = [jnp.concatenate([pick(x, which) for x, which in column if which]) for column in columns]
    still = jnp.zeros((len(walls), lanes), bool)
    swapped = jnp.concatenate([still, pick(pair_swapped, flat_pairs)]) if flat_pairs else still
    return *sorted_by, swapped
