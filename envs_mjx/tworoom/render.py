"""Pixels of TwoRoom: flat walls and doors, and the soft dots of `envs_mjx.planar.arena`."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from envs_mjx.planar.arena import SIZE, border_mask, paint_layers, soft_dots
from envs_mjx.tworoom.factors import MAX_DOORS, WALL_CENTER

_DOTS = ("target", "agent")


def render_frame(
    agent: Float[Array, "2"], target: Float[Array, "2"], factors: Mapping[str, Array], with_target: bool
) -> UInt8[Array, "224 224 3"]:
    """Draw a frame.

    Args:
        agent: where the agent's dot is, x, y in px.
        target: where the target's dot is.
        factors: factors by dotted name.
        with_target: draw the target whatever the factor `rendering.render_target` says.

    Returns:
        RGB image.

    Source: reference: envs/two_room/env.py (`_render_frame`).
    """
    walls, doors = _masks(factors)
    image = jnp.where(doors[..., None], factors["door.color"][None, None], factors["background.color"][None, None])
    image = jnp.where(walls[..., None], factors["wall.color"][None, None], image)
    marked = with_target | (factors["rendering.render_target"] == 1)
    centers = jnp.stack([target, agent])
    radii, colors = (jnp.stack([factors[f"{name}.{of}"] for name in _DOTS]) for of in ("radius", "color"))
    shown = jnp.stack([marked, jnp.ones_like(marked)])
    return paint_layers(image, soft_dots(centers, radii[:, 0]), colors, shown)


def _masks(factors: Mapping[str, Array]) -> tuple[Bool[Array, "224 224"], Bool[Array, "224 224"]]:
    """Pixels of the walls, and of the doors in them."""
    pixel = jnp.arange(SIZE)
    stripe = jnp.abs(pixel - WALL_CENTER) <= factors["wall.thickness"] // 2
    used = jnp.arange(MAX_DOORS) < factors["door.number"]
    reach = jnp.abs(pixel[:, None] - factors["door.position"][None, :]) <= factors["door.size"][None, :]
    span = (used[None, :] & reach).any(1)
    # The first axis of a picture is y: the span of a vertical wall's door lies along it.
    vertical = factors["wall.axis"] == 1
    central = jnp.where(vertical, stripe[None, :], stripe[:, None])
    open_ = jnp.where(vertical, span[:, None], span[None, :])
    return (central & ~open_) | border_mask(), central & open_
