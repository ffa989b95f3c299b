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

from envs_mjx.rigid2d.indexing import pick, put
from envs_mjx.rigid2d.types import Bodies, Contacts, Geometry, World


def solve(
    world: World,
    geometry: Geometry,
    bodies: Bodies,
    contacts: Contacts,
    impulse: Float[Array, "slots L"],
    warm: Bool[Array, "slots L"],
    rank: Int[Array, "slots L"],
    dt: float,
) -> tuple[Bodies, Float[Array, "slots L"]]:
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
    motion = jnp.concatenate([bodies.velocity, bodies.angular_velocity[:, None]], axis=1)
    speed = pick(motion, dynamic)
    speed = jnp.where(movable[:, None], speed * keep, speed)
    shape = jnp.concatenate([contacts.normal, contacts.point_a, contacts.point_b, impulse[:, None]], axis=1)
    inverse = jnp.stack([geometry.inverse_mass, geometry.inverse_mass, geometry.inverse_inertia], axis=1)
    run = _Sweep(world, dt)
    speed, push, impulse = run(shape, contacts.active, warm, rank, bodies.position, motion, inverse, speed)
    bias = jnp.concatenate([bodies.bias_velocity, bodies.bias_angular_velocity[:, None]], axis=1)
    motion, bias = put(motion, dynamic, speed), put(bias, dynamic, push)
    return (
        bodies.replace(
            velocity=motion[:, :2],
            angular_velocity=motion[:, 2],
            bias_velocity=bias[:, :2],
            bias_angular_velocity=bias[:, 2],
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
            mine = jnp.take_along_axis(shape, slot[None, None, :], axis=0, mode="promise_in_bounds")[0]
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
        visited = jnp.where(active, rank, 0)
        spread = jnp.take_along_axis(gathered[:, 0], visited, axis=0, mode="promise_in_bounds")
        velocity = velocity.reshape(2, len(world.dynamic), 3, -1)
        return velocity[0], velocity[1], jnp.where(active, spread, 0.0)

    def _loop(self, count, limit, body, carry):
        return jax.lax.fori_loop(0, limit if self.world.differentiable else count, body, carry)

    def _row(self, shape, slot, used, position, motion, inverse):
        """Of one contact a lane: Jacobian over the dynamic bodies, the same by inverse inertia, mass, two targets.

        The targets are what Jacobian times velocity should come to: for the velocity minus the part of the bodies that
        contacts do not move, for the position correction its speed.
        """
        world, dynamic = self.world, self.world.dynamic
        bodies, _, lanes = position.shape
        others = [body for body in range(bodies) if body not in dynamic]
        normal, point_a, point_b = jnp.where(used[None], shape[0:2], 0.0), shape[2:4], shape[4:6]
        signs = jnp.asarray(_signs(world, bodies), shape.dtype)
        sign = signs.at[:, slot].get(mode="promise_in_bounds", wrap_negative_indices=False)[:, None]
        arm = jnp.where(sign > 0, point_b[None], point_a[None]) - position
        turn = arm[:, 0] * normal[1][None] - arm[:, 1] * normal[0][None]
        along = jnp.broadcast_to(normal[None], position.shape)
        every = sign * jnp.concatenate([along, turn[:, None]], axis=1)
        jacobian = pick(every, dynamic)
        weights = jacobian * pick(inverse, dynamic)
        effective = (jacobian * weights).sum(axis=1).sum(axis=0)
        drift = (
            (pick(every, others) * pick(motion, others)).sum(axis=1).sum(axis=0)
            if others
            else jnp.zeros_like(effective)
        )
        mass = jnp.where(used, 1.0 / jnp.where(used, effective, 1.0), 0.0)
        gap = point_b - point_a
        gap = gap[0] * normal[0] + gap[1] * normal[1]
        correction = (1.0 - world.collision_bias**self.dt) / self.dt
        bias = jnp.where(used, -correction * jnp.minimum(0.0, gap + world.collision_slop), 0.0)
        columns = [jacobian.reshape(-1, lanes), weights.reshape(-1, lanes), jnp.stack([mass, -drift, bias])]
        return jnp.concatenate(columns)


def _put(rows, row, index):
    return jax.lax.dynamic_update_index_in_dim(rows, row, index, 0)


def _signs(world: World, bodies: int) -> np.ndarray:
    """Of every body [bodies, slots]: -1 if it is the first of a contact, 1 if it is the second, 0 if none of them."""
    single = [(world.circles[i], world.polygons[j]) for i, j in world.circle_polygon]
    walls = [(world.segments[i], world.polygons[j]) for i, j in world.segment_polygon]
    double = [(world.polygons[i], world.polygons[j]) for i, j in world.polygon_polygon]
    pairs = np.array(single + [pair for pair in walls + double for _ in range(2)])
    numbers = np.arange(bodies)[:, None]
    return (pairs[:, 1] == numbers).astype(int) - (pairs[:, 0] == numbers)
