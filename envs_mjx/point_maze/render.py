"""Pixels of SimplePointMaze: the picture that matplotlib makes of flat rectangles, discs and the axes' frame.

Matplotlib moves the edges of rectangles to whole pixels; discs and the frame are anti-aliased.

Source: reference: envs/simple_point_maze.py (`render`).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from envs_mjx.point_maze.disc import disc_corners
from envs_mjx.point_maze.factors import SIZE
from envs_mjx.raster.agg import blend, opacity_bits, polygon_coverage

RESOLUTION = 500
"""Side of the picture, px."""

_SCALE = RESOLUTION / SIZE
_GOAL_OPACITY = 128
# The frame is 0.8 pt = 1.11 px thick: a full pixel on two sides, and what is left of its opacity on the pixels beside.
_FRAME_EDGE = 14
_BLACK = (0, 0, 0)
_WINDOW = 104


def render_frame(
    agent: Float[Array, "2"], goal: Float[Array, "2"], factors: Mapping[str, Array], show_goal: bool
) -> UInt8[Array, "500 500 3"]:
    """Draw a frame; row 0 is the top of the world, y = 5.

    Args:
        agent: position x, y.
        goal: position of the goal.
        factors: factors by dotted name.
        show_goal: draw the goal.

    Returns:
        RGB image.
    """
    walls = _wall_mask(factors)[..., None]
    image = jnp.where(walls, factors["walls.color"][None, None], factors["background.color"][None, None])
    if show_goal:
        image = _draw_disc(image, goal, factors["goal.radius"], factors["goal.color"], _GOAL_OPACITY)
    image = _draw_disc(image, agent, factors["agent.radius"], factors["agent.color"], 255)
    # Left side and bottom, then right side and top, whose pixels in the corners take both.
    for line in _frame():
        image = blend(image, jnp.asarray(_BLACK, jnp.uint8), jnp.asarray(line))
    return image


def _wall_mask(factors: Mapping[str, Array]) -> Bool[Array, "500 500"]:
    """Pixels of the used walls."""
    low = factors["walls.positions"]
    high = low + factors["walls.shape"]
    pixel = jnp.arange(RESOLUTION, dtype=low.dtype)[:, None]
    left, right = (jnp.floor(x[None, :, 0] * _SCALE + 0.5) for x in (low, high))
    bottom, top = (jnp.floor((SIZE - y[None, :, 1]) * _SCALE + 0.5) for y in (low, high))
    used = jnp.arange(low.shape[0]) < factors["walls.number"]
    columns = (pixel >= left) & (pixel < right) & used[None, :]
    rows = (pixel >= top) & (pixel < bottom)
    return (rows[:, None, :] & columns[None, :, :]).any(-1)


def _draw_disc(
    image: UInt8[Array, "500 500 3"],
    position: Float[Array, "2"],
    radius: Float[Array, ""],
    color: UInt8[Array, "3"],
    opacity: int,
) -> UInt8[Array, "500 500 3"]:
    """Blend a disc inside the window that holds it, wherever in the picture that is."""
    center = jnp.stack([position[0], SIZE - position[1]]) * _SCALE
    column, row = jnp.clip(jnp.floor(center).astype(jnp.int32) - _WINDOW // 2, 0, RESOLUTION - _WINDOW)
    corners = disc_corners(center - jnp.stack([column, row]).astype(center.dtype), radius * _SCALE)
    cover = opacity_bits(polygon_coverage(corners, _WINDOW, _WINDOW), opacity)
    below = jax.lax.dynamic_slice(image, (row, column, jnp.zeros_like(row)), (_WINDOW, _WINDOW, 3))
    return jax.lax.dynamic_update_slice(image, blend(below, color, cover), (row, column, jnp.zeros_like(row)))


def _frame() -> np.ndarray:
    """Opacity of the axes' vertical and then of their horizontal lines."""
    across = np.zeros(RESOLUTION, np.int32)
    across[[0, 1, -1]] = 255, _FRAME_EDGE, _FRAME_EDGE
    vertical = np.broadcast_to(across, (RESOLUTION, RESOLUTION))
    return np.stack([vertical, vertical.T])
