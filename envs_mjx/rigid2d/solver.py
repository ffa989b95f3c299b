"""Sequential impulses.

The active contacts of a scene are packed in the order of visits, so that the work grows with the scene that has most
contacts in the batch.
A contact is one row of a Jacobian over the velocities of the bodies that contacts can move; what the others
contribute to its approach speed is a constant.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.rigid2d.batching import max_in_batch
from envs_mjx.rigid2d.indexing import pick, put
from envs_mjx.rigid2d.types import Bodies, Contacts, Geometry, World

_LENGTHS = (0, 1, 2, 4, 6, 10)
"""Numbers of contacts for which there is a program, besides the number of slots."""


def solve(
    world: World,
    geometry: Geometry,
    bodies: Bodies,
    contacts: Contacts,
    impulse: Float[Array, " slots"],
    warm: Bool[Array, " slots"],
    rank: Int[Array, " slots"],
    dt: float,
) -> tuple[Bodies, Float[Array, " slots"]]:
    """Velocities, position corrections and accumulated impulses after the solver's iterations.

    Args:
        world: Fixed structure and constants.
        geometry: Inertias.
        bodies: Bodies after integration.
        contacts: Contacts of this step.
        impulse: Impulses to start from (mass px/s).
        warm: Slots whose starting impulse is applied before the first iteration.
        rank: Position of every active slot in the order of visits, from 0.
        dt: Duration of the step in s.

    Returns:
        The bodies with new velocities, and the accumulated impulses.
    """
    slots = world.num_slots
    lengths = [*(n for n in _LENGTHS if n < slots), slots]
    keep = 0.0 if world.damping == 0.0 else world.damping**dt
    dynamic = world.dynamic
    movable = pick(geometry.inverse_mass, dynamic) > 0.0
    speed_x, speed_y, spin = (
        pick(column, dynamic) for column in (bodies.velocity[:, 0], bodies.velocity[:, 1], bodies.angular_velocity)
    )
    twist = tuple(jnp.where(movable, v * keep, v) for v in (speed_x, speed_y, spin))

    def program(length):
        return lambda: _solve_packed(world, geometry, bodies, contacts, impulse, warm, rank, twist, length, dt)

    count = contacts.active.sum(dtype=jnp.int32)
    if world.differentiable:
        twist, push, impulse = program(slots)()
    else:
        busiest = max_in_batch(count)
        which = sum((busiest > n).astype(jnp.int32) for n in lengths[:-1])
        twist, push, impulse = jax.lax.switch(which, [program(n) for n in lengths])
    columns = [
        put(column, dynamic, new)
        for column, new in zip(
            (
                *(bodies.velocity[:, 0], bodies.velocity[:, 1], bodies.angular_velocity),
                *(bodies.bias_velocity[:, 0], bodies.bias_velocity[:, 1], bodies.bias_angular_velocity),
            ),
            (*twist, *push),
            strict=True,
        )
    ]
    return (
        bodies.replace(
            velocity=jnp.stack(columns[0:2], axis=1),
            angular_velocity=columns[2],
            bias_velocity=jnp.stack(columns[3:5], axis=1),
            bias_angular_velocity=columns[5],
        ),
        impulse,
    )


def _solve_packed(world, geometry, bodies, contacts, impulse, warm, rank, twist, length, dt):
    """Solve the first `length` active contacts, and put their impulses back into the slots."""
    still = tuple(jnp.zeros_like(v) for v in twist)
    if length == 0:
        return twist, still, jnp.zeros_like(impulse)
    slot_count = impulse.shape[0]
    here = contacts.active[None, :] & (rank[None, :] == np.arange(length)[:, None])
    slot = jnp.where(here, np.arange(slot_count)[None, :], 0).sum(axis=1)
    used = jnp.arange(length) < contacts.active.sum()
    rows = _rows(world, geometry, bodies, contacts, slot, used, dt)
    start = jnp.where(used, impulse[slot], 0.0)
    first_push = jnp.where(used & warm[slot], start, 0.0)
    twist, push, total = _sweep(world, rows, start, first_push, twist, still)
    spread = jnp.zeros_like(impulse)
    for i in range(min(length, _LENGTHS[-1])):
        spread = jnp.where(here[i], total[i], spread)
    if length > _LENGTHS[-1]:
        spread = jnp.where(contacts.active, total[jnp.where(contacts.active, rank, 0)], 0.0)
    return twist, push, spread


def _rows(world, geometry, bodies, contacts, slot, used, dt):
    """What the iterations need of every packed contact: Jacobian, the same by inverse inertia, mass, bias, drift.

    The Jacobian rows are [dynamic, length], and so are their products with the inverse masses and inertias.
    """
    nx, ny = contacts.normal[slot, 0], contacts.normal[slot, 1]
    ax, ay = contacts.point_a[slot, 0], contacts.point_a[slot, 1]
    bx, by = contacts.point_b[slot, 0], contacts.point_b[slot, 1]
    nx, ny = jnp.where(used, nx, 0.0), jnp.where(used, ny, 0.0)
    sides = np.array(_slot_bodies(world))
    effective, drift = jnp.zeros_like(nx), jnp.zeros_like(nx)
    jacobian, weights = [], []
    for body in range(bodies.angle.shape[0]):
        is_a, is_b = _member(sides[:, 0] == body, slot), _member(sides[:, 1] == body, slot)
        if is_a is False and is_b is False:
            continue
        px, py = bodies.position[body, 0], bodies.position[body, 1]
        turn_a = (ax - px) * ny - (ay - py) * nx
        turn_b = (bx - px) * ny - (by - py) * nx
        jx = _signed(is_a, is_b, nx, nx)
        jy = _signed(is_a, is_b, ny, ny)
        jw = _signed(is_a, is_b, turn_a, turn_b)
        if body in world.dynamic:
            inverse_mass, inverse_inertia = geometry.inverse_mass[body], geometry.inverse_inertia[body]
            jacobian.append((jx, jy, jw))
            weights.append((jx * inverse_mass, jy * inverse_mass, jw * inverse_inertia))
            effective = effective + jx * weights[-1][0] + jy * weights[-1][1] + jw * weights[-1][2]
        else:
            vx, vy = bodies.velocity[body, 0], bodies.velocity[body, 1]
            drift = drift + jx * vx + jy * vy + jw * bodies.angular_velocity[body]
    mass = jnp.where(used, 1.0 / jnp.where(used, effective, 1.0), 0.0)
    gap = (bx - ax) * nx + (by - ay) * ny
    correction = (1.0 - world.collision_bias**dt) / dt
    bias = jnp.where(used, -correction * jnp.minimum(0.0, gap + world.collision_slop), 0.0)
    return jacobian, weights, mass, bias, drift


def _slot_bodies(world: World) -> list[tuple[int, int]]:
    single = [(world.circles[i], world.polygons[j]) for i, j in world.circle_polygon]
    walls = [(world.segments[i], world.polygons[j]) for i, j in world.segment_polygon]
    double = [(world.polygons[i], world.polygons[j]) for i, j in world.polygon_polygon]
    return single + [pair for pair in walls + double for _ in range(2)]


def _member(mask, slot):
    """Whether a packed contact is in a static set of slots: a Python bool where the set is empty or full."""
    if not mask.any():
        return False
    return True if mask.all() else jnp.asarray(mask)[slot]


def _signed(is_a, is_b, value_a, value_b):
    """The entry of a body's Jacobian: minus as the first body of a contact, plus as the second."""
    if is_b is True:
        return value_b
    negative = 0.0 if is_a is False else jnp.where(is_a, -value_a, 0.0)
    return negative if is_b is False else jnp.where(is_b, value_b, negative)


def _contact_step(row, twist, push, pushed, total):
    """One visit of one contact: position correction, then velocity. `twist` and `push` are lists over bodies."""
    jacobian, weights, mass, bias, drift = row
    separating = sum(j * p for jb, pb in zip(jacobian, push, strict=True) for j, p in zip(jb, pb, strict=True))
    new_pushed = jnp.maximum(pushed + (bias - separating) * mass, 0.0)
    push = _add(push, weights, new_pushed - pushed)
    approach = drift + sum(j * v for jb, vb in zip(jacobian, twist, strict=True) for j, v in zip(jb, vb, strict=True))
    new_total = jnp.maximum(total - approach * mass, 0.0)
    return _add(twist, weights, new_total - total), push, new_pushed, new_total


def _add(velocity, weights, impulse):
    return [
        tuple(v + w * impulse for v, w in zip(vb, wb, strict=True)) for vb, wb in zip(velocity, weights, strict=True)
    ]


def _by_body(columns):
    return [tuple(c[i] for c in columns) for i in range(columns[0].shape[0])]


def _by_column(bodies):
    return tuple(jnp.stack([body[i] for body in bodies]) for i in range(3))


def _sweep(world, rows, start, first_push, twist, still):
    def apply(speed, row):
        weights, impulse = row
        return _add(speed, weights, impulse), None

    speed, _ = jax.lax.scan(apply, _by_body(twist), (rows[1], first_push))

    def visit(carry, row):
        speed, push, pushed, total = _contact_step(row[0], *carry, *row[1])
        return (speed, push), (pushed, total)

    def iterate(_, carry):
        velocities, impulses = carry
        return jax.lax.scan(visit, velocities, (rows, impulses))

    carry = ((speed, _by_body(still)), (jnp.zeros_like(start), start))
    (speed, push), (_, total) = jax.lax.fori_loop(0, world.iterations, iterate, carry)
    return _by_column(speed), _by_column(push), total
