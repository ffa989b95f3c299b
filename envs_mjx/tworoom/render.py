"""Pixels of TwoRoom: flat walls and doors, and soft dots that the reference blends in float32 and truncates.

Truncation makes the last bits visible: where a dot's colour adds up to 254.99998, the pixel is 254. So the arithmetic
keeps the reference's order, and two of XLA's liberties are held back: a product and a sum in one rounding, and a
multiplication by the reciprocal of a divisor that all pixels share. What stays is the last bit of `exp`, which differs
between mathematical libraries: about 10 pixels of a frame are off by 1 level.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from envs_mjx.tworoom.factors import BORDER, MAX_DOORS, SIZE, WALL_CENTER

_LINE = 4
_HUGE = 1e30
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

    # In loops, because what they return lies in memory; XLA would compute everything anew for every colour.
    dots = jax.lax.map(lambda dot: _dot(*dot), (centers, radii[:, 0]))

    def paint(image: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, None]:
        dot, color, shown = layer
        return jnp.where(shown, _blend(image, dot, color), image), None

    return jax.lax.scan(paint, image, (dots, colors, shown))[0]


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
    line = ((pixel >= BORDER - _LINE) & (pixel < BORDER)) | ((pixel >= SIZE - BORDER) & (pixel < SIZE - BORDER + _LINE))
    border = line[None, :] | line[:, None]
    return (central & ~open_) | border, central & open_


def _dot(center: Float[Array, "2"], radius: Float[Array, ""]) -> Float[Array, "224 224"]:
    """Opacity of a Gaussian dot whose standard deviation is its radius, 1 at its brightest pixel."""
    pixel = jnp.arange(SIZE, dtype=center.dtype)
    dx, dy = pixel - center[0][None], pixel - center[1][None]
    squares = _rounded(dx * dx)[None, :] + _rounded(dy * dy)[:, None]
    dot = jnp.exp(_quotient(-squares, 2.0 * radius * radius))
    brightest = dot.max()
    return jnp.where(brightest > 0, _quotient(dot, brightest), dot)


def _blend(
    image: UInt8[Array, "224 224 3"], opacity: Float[Array, "224 224"], color: UInt8[Array, "3"]
) -> UInt8[Array, "224 224 3"]:
    opacity = jnp.clip(opacity, 0.0, 1.0)[..., None]
    below, above = image.astype(opacity.dtype), color.astype(opacity.dtype)[None, None]
    return (_rounded(below * (1.0 - opacity)) + _rounded(above * opacity)).astype(jnp.uint8)


def _rounded(product: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same product; a minimum between product and sum keeps XLA from rounding them as one operation."""
    return jnp.minimum(product, _HUGE)


def _quotient(values: Float[Array, "224 224"], divisor: Float[Array, ""]) -> Float[Array, "224 224"]:
    """Values over a positive divisor; one that looks different at every pixel is not turned into a reciprocal."""
    return values / jnp.maximum(divisor, -jnp.abs(values))
