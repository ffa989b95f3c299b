"""Geometry and inertia of PushT's block and agent shapes, as padded tables indexed by the shape factor.

Every shape is a union of at most three rectangles. Lengths are in units of the shape's scale `s` (px), inertias in
units of `mass * s**2`. Inertias are those that the reference hands to its engine, which are not always those of the
drawn shape (the T counts its bar twice).

Source: reference, envs/pusht/env.py (`add_*` methods).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

NAMES = ("o", "L", "T", "Z", "square", "I", "small_tee", "+")
MAX_PARTS = 3
CIRCLE = NAMES.index("o")
CIRCLE_RADIUS = 0.375
"""Radius of the circular agent in units of its scale."""

# (xmin, xmax, ymin, ymax) of every rectangle.
_RECTANGLES: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "o": (),
    "L": ((0, 1, 0, 2), (0, 2, -1, 0)),
    "T": ((-2, 2, 0, 1), (-0.5, 0.5, 1, 4)),
    "Z": ((-0.5, 1.5, 0, 1), (-1.5, 0.5, -1, 0)),
    "square": ((-1, 1, -1, 1),),
    "I": ((-0.5, 0.5, -2, 2),),
    "small_tee": ((-1.5, 1.5, 0, 1), (-0.5, 0.5, 1, 2)),
    "+": ((-1.5, 1.5, -0.5, 0.5), (-0.5, 0.5, 0.5, 1.5), (-0.5, 0.5, -1.5, -0.5)),
}
# A kinematic circle has no use for an inertia; one keeps quotients finite.
_INERTIA = {"o": 1.0, "L": 10 / 3, "T": 10 / 3, "Z": 11 / 6, "square": 2 / 3, "I": 17 / 12, "small_tee": 3.5, "+": 2.5}
_SYMMETRY = {"square": np.pi / 2, "+": np.pi / 2, "I": np.pi, "Z": np.pi}


def _table():
    vertices = np.zeros((len(NAMES), MAX_PARTS, 4, 2))
    mask = np.zeros((len(NAMES), MAX_PARTS), bool)
    center = np.zeros((len(NAMES), 2))
    for i, name in enumerate(NAMES):
        parts = np.array([[(a, c), (b, c), (b, d), (a, d)] for a, b, c, d in _RECTANGLES[name]])
        if len(parts) == 0:
            # Never seen, but corners in one point would have no direction, and no gradient.
            vertices[i] = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
            continue
        vertices[i, : len(parts)] = parts
        vertices[i, len(parts) :] = parts[0]
        mask[i, : len(parts)] = True
        center[i] = parts.mean(axis=(0, 1))
    inertia = np.array([[_INERTIA[name]] for name in NAMES])
    return np.concatenate([vertices.reshape(len(NAMES), -1), mask, center, inertia], axis=1)


_CORNERS = MAX_PARTS * 4 * 2
_TABLE = _table()
"""A row for every shape: corners, which parts exist, centre of gravity, inertia. One look-up finds it all."""
_PERIODS = np.array([_SYMMETRY.get(name, 2 * np.pi) for name in NAMES])


class Shape(NamedTuple):
    """A shape at its scale.

    Attributes:
        vertices: Vertices of each rectangle relative to the body's origin (px); absent parts repeat the first.
        mask: Which parts exist.
        center_of_gravity: In px, relative to the body's origin.
        inertia: Moment of inertia for unit mass (px^2).
    """

    vertices: Float[Array, "3 4 2 *lanes"]
    mask: Bool[Array, "3 *lanes"]
    center_of_gravity: Float[Array, "2 *lanes"]
    inertia: Float[Array, "*lanes"]


def shape(index: Int[Array, ""], scale: Float[Array, ""]) -> Shape:
    """The shape with a given index (0 to 7, in the order of `NAMES`) and scale in px."""
    row = jax.lax.dynamic_index_in_dim(jnp.asarray(_TABLE, scale.dtype), index, keepdims=False)
    vertices, mask = row[:_CORNERS].reshape(MAX_PARTS, 4, 2), row[_CORNERS : _CORNERS + MAX_PARTS] > 0
    return Shape(vertices * scale, mask, row[-3:-1] * scale, row[-1] * scale**2)


def symmetry(index: Int[Array, ""], dtype: Any) -> Float[Array, ""]:
    """Smallest rotation (rad) that maps the shape with an index to itself, as the success rule counts it."""
    return jax.lax.dynamic_index_in_dim(jnp.asarray(_PERIODS, dtype), index, keepdims=False)
