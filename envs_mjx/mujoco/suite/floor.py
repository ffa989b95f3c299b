"""Colours of the floor's squares in the suite's texture `grid`."""

import functools

import mujoco
import numpy as np

from envs_mjx.mujoco.drawn import Drawn

FIRST_SQUARE, SECOND_SQUARE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
"""Colours that tell the squares apart before they are painted."""

Squares = tuple[np.ndarray, np.ndarray]


@functools.lru_cache(maxsize=64)
def floor_squares(env: Drawn) -> Squares:
    """Which pixels of the texture are in the first and in the second squares.

    The model has them in `FIRST_SQUARE` and `SECOND_SQUARE`; the lines between the squares have a third colour.
    """
    model = env.drawn_model()
    pixels = _pixels(model)
    first, second = (np.multiply(color, 255).astype(np.uint8) for color in (FIRST_SQUARE, SECOND_SQUARE))
    return (pixels == first).all(1), (pixels == second).all(1)


def floor_painted(model: mujoco.MjModel, squares: Squares, colors: np.ndarray) -> tuple[int, ...]:
    """Give the squares their colours, 0 to 1, one row each.

    Returns:
        Number of the texture if it has changed.
    """
    pixels, wanted = _pixels(model), (np.asarray(colors, np.float64) * 255).astype(np.uint8)
    before = pixels.copy()
    for mask, color in zip(squares, wanted, strict=True):
        pixels[mask] = color
    return () if np.array_equal(before, pixels) else (model.texture("grid").id,)


def _pixels(model: mujoco.MjModel) -> np.ndarray:
    """Red, green and blue of the texture's pixels, a view."""
    texture = model.texture("grid").id
    start, size = model.tex_adr[texture], model.tex_height[texture] * model.tex_width[texture]
    return model.tex_data[start : start + 3 * size].reshape(-1, 3)
