"""The red cross that marks an action in PushT's frames (`render_action`).

Source: reference, envs/pusht/env.py `_render_frame`; OpenCV's `drawMarker` and the thick lines that it is made of.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

_COLOR = (255, 0, 0)
# The reference means a picture of 96 px for a window of 512 px, whatever the resolution.
_WINDOW, _PICTURE = 512, 96
_CROSS_SIZE = 8


def mark_action(image: UInt8[Array, "size size 3"], action: Float[Array, "2"]) -> UInt8[Array, "size size 3"]:
    """Draw the cross into a finished frame.

    As in the reference its place makes sense only for absolute actions on a picture of 96 px. Below that resolution,
    where the reference fails, its lines are one pixel wide.

    Args:
        image: RGB, 0 to 255.
        action: window px, x and y; parts of the cross outside the picture are cut off.
    """
    size = image.shape[0]
    cross = _cross(size)
    reach = cross.shape[0] // 2
    center = (action / _WINDOW * _PICTURE).astype(jnp.int32)
    x, y = (jnp.arange(size, dtype=jnp.int32) - center[axis] + reach for axis in (0, 1))
    row, column = y[:, None], x[None, :]
    inside = (row >= 0) & (row <= 2 * reach) & (column >= 0) & (column <= 2 * reach)
    marked = inside & jnp.asarray(cross)[jnp.clip(row, 0, 2 * reach), jnp.clip(column, 0, 2 * reach)]
    return jnp.where(marked[:, :, None], jnp.asarray(_COLOR, jnp.uint8)[None, None, :], image)


@functools.cache
def _cross(size: int) -> np.ndarray:
    """Pixels of the cross, its centre in the middle, for pictures of this size."""
    half, thickness = _CROSS_SIZE * size // _PICTURE // 2, size // _PICTURE
    # A thick line is widened to an odd number of pixels and ends in discs.
    radius = (thickness + 1) // 2 if thickness > 1 else 0
    reach = half + radius
    bar = np.zeros((2 * reach + 1, 2 * reach + 1), bool)
    bar[reach - radius : reach + radius + 1, radius : 2 * reach + 1 - radius] = True
    for end in (radius, 2 * reach - radius):
        for row, width in _disc(radius):
            bar[reach + row, end - width : end + width + 1] = True
    return bar | bar.T


def _disc(radius: int) -> list[tuple[int, int]]:
    """Rows of a disc and how far each reaches to both sides, by the midpoint rule."""
    rows = []
    across, down, error = radius, 0, 0
    while across >= down:
        rows += [(down, across), (-down, across), (across, down), (-across, down)]
        error += 2 * down + 1
        down += 1
        if error > 0:
            error -= 2 * across - 1
            across -= 1
    return rows
