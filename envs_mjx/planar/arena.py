"""What the environments with a dot in a 224 x 224 px arena share: its border, soft dots, points and lengths.

The reference blends dots in float32 and truncates. Truncation makes the last bits visible: where a dot's colour adds up
to 254.99998, the pixel is 254. So the arithmetic keeps the reference's order, and two of XLA's liberties are held back:
a product and a sum in one rounding, and a multiplication by the reciprocal of a divisor that all pixels share. What
stays is the last bit of `exp`, which differs between mathematical libraries: about 10 pixels of a frame are off by 1
level.

Source: reference: envs/two_room/env.py, envs/piecewise/piecewise_env.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from envs_mjx.checks import UserError

SIZE = 224
"""Side of the arena and of its picture, px."""
BORDER = 14
"""Distance of the outer walls' inner faces from the picture's edge, px."""
SUCCESS_DISTANCE = 16.0
"""The target is reached below this distance, px."""

_LINE = 4
_HUGE = 1e30


def point(value: Any, name: str) -> Float[Array, "2"]:
    """x, y as float32, in which the reference computes whatever the rest runs in.

    Raises:
        UserError: another shape; `name` is what the message calls the value.
    """
    value = jnp.asarray(value, jnp.float32)
    if value.shape != (2,):
        raise UserError(f"{name} must have 2 entries (x, y), got the shape {value.shape}")
    return value


def length(vectors: Float[Array, "*batch 2"]) -> Float[Array, "*batch"]:
    """Euclidean length with a gradient of 0 at 0, where the formula's is NaN."""
    squares = (vectors**2).sum(-1)
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)


def border_mask() -> Bool[Array, "224 224"]:
    """Pixels of the four outer walls; their lines run to the picture's edge."""
    pixel = jnp.arange(SIZE)
    line = ((pixel >= BORDER - _LINE) & (pixel < BORDER)) | ((pixel >= SIZE - BORDER) & (pixel < SIZE - BORDER + _LINE))
    return line[None, :] | line[:, None]


def soft_dots(centers: Float[Array, "dots 2"], radii: Float[Array, " dots"]) -> Float[Array, "dots 224 224"]:
    """Opacity of Gaussian dots whose standard deviations are their radii, 1 at each one's brightest pixel."""
    # In a loop, because what it returns lies in memory; XLA would compute everything anew for every colour.
    return jax.lax.map(lambda dot: _soft_dot(*dot), (centers, radii))


def paint_layers(
    image: UInt8[Array, "224 224 3"],
    opacities: Float[Array, "layers 224 224"],
    colors: UInt8[Array, "layers 3"],
    shown: Bool[Array, " layers"],
) -> UInt8[Array, "224 224 3"]:
    """Blend layers of one colour each over a picture, in order, leaving out those that are not shown."""

    def paint(image: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, None]:
        opacity, color, shown = layer
        return jnp.where(shown, _blend(image, opacity, color), image), None

    return jax.lax.scan(paint, image, (opacities, colors, shown))[0]


def _soft_dot(center: Float[Array, "2"], radius: Float[Array, ""]) -> Float[Array, "224 224"]:
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
