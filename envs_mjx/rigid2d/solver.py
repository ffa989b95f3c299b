"""Sequential impulses.

The contacts are visited by rank, as many of them as the scene of the batch that has most; the lanes of the batch are
the last axis of every array here.
A contact is one row of a Jacobian over the velocities of the bodies that contacts can move; what the others
contribute to its approach speed is a constant.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.rigid2d.batching import over_lanes
from envs_mjx.rigid2d.indexing import pick, put
from envs_mjx.rigid2d.types import Bodies, Contacts, Geometry, World


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
    dynamic = world.dynamic
    keep = 0.0 if world.damping == 0.0 else world.damping**dt
    movable = pick(geometry.inverse_mass, dynamic) > 0.0
    motion = jnp.stack([bodies.velocity[:, 0], bodies.velocity[:, 1], bodies.angular_velocity], axis=1)
    speed = pick(motion, dynamic)
    speed = jnp.where(movable[:, None], speed * keep, speed)
    shape = jnp.concatenate([contacts.normal, contacts.point_a, contacts.point_b, impulse[:, None]], axis=1)
    inverse = jnp.stack([geometry.inverse_mass, geometry.inverse_inertia], axis=1)
    operands = (shape, contacts.active, warm, rank, bodies.position, motion, inverse, speed)
    run = _Sweep(world, dt)
    if world.differentiable:
        speed, push, impulse = (x[..., 0] for x in run(*(x[..., None] for x in operands)))
    else:
        speed, push, impulse = over_lanes(run, *operands)
    columns = [
        put(column, dynamic, new)
        for column, new in zip(
            (
                *(bodies.velocity[:, 0], bodies.velocity[:, 1], bodies.angular_velocity),
                *(bodies.bias_velocity[:, 0], bodies.bias_velocity[:, 1], bodies.bias_angular_velocity),
            ),
            (*(speed[:, k] for k in range(3)), *(push[:, k] for k in range(3))),
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


@dataclass(frozen=True)
class _Sweep:
    """The iterations for a batch of scenes: lists of scalars over the bodies, every scalar an array [L]."""

    world: World
    dt: float

    def __call__(self, shape, active, warm, rank, position, motion, inverse, speed):
        """Speeds and position corrections [dynamic, 3, L], and accumulated impulses [slots, L]."""
        world, slots = self.world, active.shape[0]
        count = jnp.max(active.sum(axis=0, dtype=jnp.int32))
        width = 3 * len(world.dynamic)
        speed = speed.reshape(width, -1)

        def pack(r, carry):
            rows, total, speed = carry
            here = active & (rank == r)
            slot = jnp.where(here, np.arange(slots, dtype=np.int32)[:, None], 0).sum(axis=0, dtype=jnp.int32)
            used = jnp.any(here, axis=0)
            mine = jnp.take_along_axis(shape, slot[None, None, :], axis=0)[0]
            start = jnp.where(used, mine[6], 0.0)
            row = self._row(mine, slot, used, position, motion, inverse)
            first = jnp.where(jnp.any(here & warm, axis=0), start, 0.0)
            speed = speed + row[width : 2 * width] * first[None, :]
            return _put(rows, row, r), _put(total, jnp.stack([start, jnp.zeros_like(start)]), r), speed

        rows = jnp.zeros((slots, 2 * width + 3, speed.shape[-1]), speed.dtype)
        gathered = jnp.zeros((slots, 2, speed.shape[-1]), speed.dtype)
        rows, gathered, speed = self._loop(count, slots, pack, (rows, gathered, speed))
        rounds = jnp.maximum(count, 1)

        def visit(k, carry):
            velocity, gathered = carry
            i = k % (slots if world.differentiable else rounds)
            row, before = (jax.lax.dynamic_index_in_dim(x, i, keepdims=False) for x in (rows, gathered))
            jacobian, weights = row[:width], row[width : 2 * width]
            mass, target = row[2 * width], row[2 * width + 1 :]
            # The reference corrects the position first; the two do not see each other.
            approach = sum(jacobian[None, j] * velocity[:, j] for j in range(width))
            after = jnp.maximum(before + (target - approach) * mass[None, :], 0.0)
            velocity = velocity + weights[None] * (after - before)[:, None, :]
            return velocity, _put(gathered, after, i)

        velocity = jnp.stack([speed, jnp.zeros_like(speed)])
        velocity, gathered = self._loop(world.iterations * count, world.iterations * slots, visit, (velocity, gathered))
        spread = jnp.take_along_axis(gathered[:, 0], jnp.where(active, rank, 0), axis=0)
        velocity = velocity.reshape(2, len(world.dynamic), 3, -1)
        return velocity[0], velocity[1], jnp.where(active, spread, 0.0)

    def _loop(self, count, limit, body, carry):
        return jax.lax.fori_loop(0, limit if self.world.differentiable else count, body, carry)

    def _row(self, shape, slot, used, position, motion, inverse):
        """Of one contact a lane: Jacobian over the dynamic bodies, the same by inverse inertia, mass, two targets.

        The targets are what Jacobian times velocity should come to: for the velocity minus the part of the bodies that
        contacts do not move, for the position correction its speed.
        """
        world = self.world
        nx, ny = (jnp.where(used, v, 0.0) for v in (shape[0], shape[1]))
        ax, ay, bx, by = shape[2], shape[3], shape[4], shape[5]
        sides = np.array(_slot_bodies(world))
        effective, drift = jnp.zeros_like(nx), jnp.zeros_like(nx)
        jacobian, weights = {}, {}
        for body in range(position.shape[0]):
            is_a, is_b = _member(sides[:, 0] == body, slot), _member(sides[:, 1] == body, slot)
            px, py = position[body]
            jx, jy = _signed(is_a, is_b, nx, nx), _signed(is_a, is_b, ny, ny)
            jw = _signed(is_a, is_b, (ax - px) * ny - (ay - py) * nx, (bx - px) * ny - (by - py) * nx)
            if body in world.dynamic:
                inverse_mass, inverse_inertia = inverse[body]
                jacobian[body] = (jx, jy, jw)
                weights[body] = (jx * inverse_mass, jy * inverse_mass, jw * inverse_inertia)
                effective = effective + sum(a * b for a, b in zip(jacobian[body], weights[body], strict=True))
            else:
                drift = drift + jx * motion[body, 0] + jy * motion[body, 1] + jw * motion[body, 2]
        mass = jnp.where(used, 1.0 / jnp.where(used, effective, 1.0), 0.0)
        gap = (bx - ax) * nx + (by - ay) * ny
        correction = (1.0 - world.collision_bias**self.dt) / self.dt
        bias = jnp.where(used, -correction * jnp.minimum(0.0, gap + world.collision_slop), 0.0)
        columns = [v for table in (jacobian, weights) for body in world.dynamic for v in table[body]]
        return jnp.stack([*columns, mass, -drift, bias])


def _put(rows, row, index):
    return jax.lax.dynamic_update_index_in_dim(rows, row, index, 0)


def _slot_bodies(world: World) -> list[tuple[int, int]]:
    single = [(world.circles[i], world.polygons[j]) for i, j in world.circle_polygon]
    walls = [(world.segments[i], world.polygons[j]) for i, j in world.segment_polygon]
    double = [(world.polygons[i], world.polygons[j]) for i, j in world.polygon_polygon]
    return single + [pair for pair in walls + double for _ in range(2)]


def _member(mask, slot):
    """Whether a packed contact is in a static set of slots: a Python bool where the set is empty or full."""
    if mask.all() or not mask.any():
        return bool(mask.all())
    return jnp.asarray(mask)[slot]


def _signed(is_a, is_b, value_a, value_b):
    """The entry of a body's Jacobian: minus as the first body of a contact, plus as the second."""
    return jnp.where(is_b, value_b, jnp.where(is_a, -value_a, 0.0))
