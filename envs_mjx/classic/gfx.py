"""Pygame's `gfxdraw` primitives on packed pictures, pixel for pixel, as pure JAX.

A picture is an array of words that hold red, green and blue in their three lowest bytes.

Source: pygame 2.6 SDL_gfxPrimitives.c.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8, UInt32

RGB = tuple[int, int, int]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def packed(color: Any) -> UInt32[Array, ""]:
    """A colour, three levels from 0 to 255, as one word."""
    red, green, blue = color
    return jnp.asarray(red | green << 8 | blue << 16, jnp.uint32)


def unpack(picture: UInt32[Array, "height width"]) -> UInt8[Array, "height width 3"]:
    """RGB image of a picture."""
    return jax.lax.bitcast_convert_type(picture, jnp.uint8)[..., :3]
