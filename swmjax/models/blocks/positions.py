"""Position embeddings of a patch grid, resized as torch does it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def bicubic_matrix(size: int, new_size: int, antialias: bool = False) -> np.ndarray:
    """The matrix that resizes one axis as torch does: bicubic with half-pixel centres.

    Args:
        size: Length of the axis before.
        new_size: Length of the axis after.
        antialias: Widen the kernel when shrinking; torch then takes a = -0.5 (as Pillow), otherwise a = -0.75.

    Returns:
        float64 array [new_size, size]; every row sums to 1.

    Source: Keys 1981; torch.nn.functional.interpolate(mode="bicubic", align_corners=False).
    """
    a = -0.5 if antialias else -0.75
    scale = size / new_size
    width = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(new_size) + 0.5) * scale - 0.5
    reach = int(np.ceil(2 * width))
    matrix = np.zeros((new_size, size))
    for tap in range(-reach, reach + 1):
        place = np.floor(centre).astype(int) + tap
        distance = np.abs(centre - place) / width
        near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
        far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        if antialias:
            # Taps beyond the border are left out there, and repeat the border otherwise.
            weight = np.where((place < 0) | (place >= size), 0.0, weight)
        np.add.at(matrix, (np.arange(new_size), np.clip(place, 0, size - 1)), weight)
    return matrix / matrix.sum(axis=1, keepdims=True)


def resize_positions(
    stored: Float[Array, "1 P D"], grid: int, rows: int, columns: int, antialias: bool = False
) -> Float[Array, "1 Q D"]:
    """Positions for a frame of rows x columns patches; the class token's comes first and stays.

    Args:
        stored: Those of a square of `grid` patches a side.
        grid: Patches a side of the stored square; the same size returns them unchanged.
        rows: Patches from top to bottom.
        columns: Patches from left to right.
        antialias: See `bicubic_matrix`.
    """
    if (rows, columns) == (grid, grid):
        return stored
    # Half precision would shift the embeddings.
    dtype = jnp.promote_types(stored.dtype, jnp.float32)
    patches = stored[:, 1:].astype(dtype).reshape(grid, grid, -1)
    resized = jnp.einsum(
        "yr,xc,rcd->yxd",
        jnp.asarray(bicubic_matrix(grid, rows, antialias), dtype),
        jnp.asarray(bicubic_matrix(grid, columns, antialias), dtype),
        patches,
    )
    return jnp.concatenate([stored[:, :1], resized.reshape(1, rows * columns, -1).astype(stored.dtype)], axis=1)
