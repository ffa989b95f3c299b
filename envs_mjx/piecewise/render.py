"""Pixels of Piecewise: flat zones and borders, arrows, and soft dots as in TwoRoom.

Source: reference: envs/piecewise/piecewise_env.py (`_render_frame`).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from envs_mjx.piecewise import arrows
from envs_mjx.piecewise.factors import of_zones
from envs_mjx.planar.arena import BORDER, SIZE, border_mask, paint_layers, soft_dots

_DOTS = ("target", "agent")


def render_frame(
    agent: Float[Array, "2"], target: Float[Array, "2"], factors: Mapping[str, Array], with_target: bool, grid_n: int
) -> UInt8[Array, "224 224 3"]:
    """Draw a frame.

    Args:
        agent: where the agent's dot is, x, y in px.
        target: where the target's dot is.
        factors: factors by dotted name.
        with_target: draw the target whatever the factor `rendering.render_target` says.
        grid_n: zones along each side.

    Returns:
        RGB image.
    """
    zones = _zone_map(grid_n)
    colored = (factors["rendering.render_zones"] == 1) & jnp.asarray(zones >= 0)
    colors = of_zones(factors, "color", grid_n)[zones]
    image = jnp.where(colored[..., None], colors, factors["background.color"][None, None])
    image = jnp.where(border_mask()[..., None], factors["border.color"][None, None], image)

    radii = jnp.concatenate([factors[f"{name}.radius"] for name in _DOTS])
    dots = soft_dots(jnp.stack([target, agent]), radii)
    pushed = factors["rendering.render_bias_field"] == 1
    field = jax.lax.cond(
        pushed,
        lambda: arrows.bias_field(factors, grid_n).astype(dots.dtype),
        lambda: jnp.zeros((SIZE, SIZE), dots.dtype),
    )
    marked = with_target | (factors["rendering.render_target"] == 1)
    return paint_layers(
        image,
        jnp.stack([dots[0], field, dots[1]]),
        jnp.stack([factors["target.color"], jnp.asarray(arrows.COLOR, jnp.uint8), factors["agent.color"]]),
        jnp.stack([marked, pushed, jnp.ones_like(pushed)]),
    )


def _zone_map(grid_n: int) -> np.ndarray:
    """Zone of every pixel, -1 outside the walls."""
    edges = BORDER + np.asarray([int(i * (SIZE - 2 * BORDER) / grid_n) for i in range(grid_n + 1)])
    line = np.searchsorted(edges, np.arange(SIZE), side="right") - 1
    inside = (line >= 0) & (line < grid_n)
    return np.where(inside[:, None] & inside, line[:, None] * grid_n + line, -1)
