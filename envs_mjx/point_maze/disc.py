"""Discs as matplotlib draws them: eight Bezier arcs, flattened into a polygon of 16 to 72 corners."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Control points of an eighth of the unit circle; the constants are those of matplotlib's `Path.unit_circle`.
_MAGIC = 0.2652031
_HALF = math.sqrt(0.5)
_OFFSET = _HALF * _MAGIC
_ARC = np.asarray([(0.0, -1.0), (_MAGIC, -1.0), (_HALF - _OFFSET, -_HALF - _OFFSET), (_HALF, -_HALF)])
_FLAT = 0.5
_LARGEST = 150.0


@functools.cache
def _polygons() -> tuple[np.ndarray, np.ndarray]:
    """Corners [kinds, corners, 2] of the unit disc as it is flattened at growing radii, and where each kind ends, px.

    Agg halves an arc until its two inner control points are together within 0.5 px of its chord, and then stands the
    point between them for the arc. Coarse polygons repeat their last corners.
    """
    ends = sorted({round(end, 9) for end in _turning_radii(_ARC)})
    turns = np.arange(8) * (math.pi / 4)
    turn = np.stack([np.cos(turns), -np.sin(turns), np.sin(turns), np.cos(turns)], -1).reshape(8, 2, 2)
    polygons = []
    for below in [0.0, *ends]:
        eighth = np.stack([_ARC[0], *_flattened(_ARC, below + 1e-6)])
        polygons.append(np.einsum("tij,cj->tci", turn, eighth).reshape(-1, 2))
    count = len(polygons[-1])
    return np.stack([np.pad(one, ((0, count - len(one)), (0, 0)), mode="edge") for one in polygons]), np.asarray(ends)


def _turning_radii(arc: np.ndarray) -> list[float]:
    """Radii below 150 px from which on an arc of the unit circle, or a part of it, is halved."""
    radius = _FLAT / _bulge(arc)
    return [] if radius > _LARGEST else [radius, *(r for half in _halves(arc) for r in _turning_radii(half))]


def _flattened(arc: np.ndarray, radius: float) -> list[np.ndarray]:
    """The points that stand for the arc of a circle with a radius in px."""
    if radius * _bulge(arc) <= _FLAT:
        return [(arc[1] + arc[2]) / 2]
    return [point for half in _halves(arc) for point in _flattened(half, radius)]


def _bulge(arc: np.ndarray) -> float:
    """Distance of the inner control points from the chord, added up."""
    chord = arc[3] - arc[0]
    away = arc[1:3] - arc[0]
    return float(np.abs(away[:, 0] * chord[1] - away[:, 1] * chord[0]).sum() / np.hypot(*chord))


def _halves(arc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two Bezier curves that a curve consists of."""
    first, second, third = (arc[:-1] + arc[1:]) / 2
    left, right = (first + second) / 2, (second + third) / 2
    middle = (left + right) / 2
    return np.stack([arc[0], first, left, middle]), np.stack([middle, right, third, arc[3]])


def disc_corners(center: Float[Array, "2"], radius: Float[Array, ""]) -> Float[Array, "corners 2"]:
    """Corners of a disc's polygon.

    Args:
        center: x, y in px, y downwards.
        radius: px, up to 150.
    """
    polygons, ends = _polygons()
    kind = (radius > jnp.asarray(ends, radius.dtype)).sum()
    # Matplotlib's y grows upwards.
    unit = jnp.asarray(polygons * [1.0, -1.0], radius.dtype)[kind]
    return center[None, :] + radius * unit
