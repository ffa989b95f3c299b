"""Contacts as MuJoCo computes them, where MJX simplifies and has no setting for it; for wherever MJX computes.

Within one control step of the suite either simplification leaves MuJoCo's trajectory by far more than rounding. Both
are replaced while a program is traced, and put back afterwards.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import mujoco

# What MJX collides with is not part of its public interface.
from mujoco.mjx._src import collision_driver, collision_primitive
from mujoco.mjx._src import math as mjx_math

_PAIR = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_CAPSULE)
_FUNCTIONS = collision_driver._COLLISION_FUNC
_MJX_PLANE_CAPSULE = _FUNCTIONS[_PAIR]
_MJX_CLOSEST_POINT = mjx_math.closest_segment_point


@contextlib.contextmanager
def exact_contacts() -> Iterator[None]:
    """Trace collisions with the exact closest point of a segment, and with MuJoCo's frames of capsules on planes."""
    mjx_math.closest_segment_point = _closest_segment_point
    _FUNCTIONS[_PAIR] = _plane_capsule
    try:
        yield
    finally:
        mjx_math.closest_segment_point = _MJX_CLOSEST_POINT
        _FUNCTIONS[_PAIR] = _MJX_PLANE_CAPSULE


def _closest_segment_point(a: Any, b: Any, pt: Any) -> Any:
    """The point of the segment from a to b that is closest to pt.

    MJX adds 1e-6 m^2 to the squared length, which moves contacts of a capsule of 5 cm by up to 20 micrometres.
    """
    along = b - a
    squared = jnp.dot(along, along)
    share = jnp.dot(pt - a, along) / jnp.where(squared > 0, squared, 1.0)
    return a + jnp.clip(share, 0.0, 1.0) * along


@collision_primitive.collider(ncon=2)
def _plane_capsule(plane: Any, capsule: Any) -> Any:
    """Both ends of a capsule on a plane, with friction along and across the capsule however steep it is.

    MJX lets go of the capsule's direction above 60 degrees, and a pyramid of friction depends on its directions.
    """
    normal, axis = plane.mat[:, 2], capsule.mat[:, 2]
    across = axis - normal * jnp.dot(normal, axis)
    length = jnp.linalg.norm(across)
    flat = length > mujoco.mjMINVAL
    first = jnp.where(flat, across / jnp.where(flat, length, 1.0), jnp.asarray((1.0, 0.0, 0.0), across.dtype))
    frame = jnp.stack([normal, first, jnp.cross(normal, first)])
    ends = capsule.pos[None] + jnp.stack([axis, -axis]) * capsule.size[1]
    distances = (ends - plane.pos[None]) @ normal - capsule.size[0]
    places = ends - normal[None] * (capsule.size[0] + 0.5 * distances[:, None])
    return distances, places, jnp.stack([frame, frame])
