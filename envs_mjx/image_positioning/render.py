"""Pixels of ImagePositioning: coloured noise, and pictures turned and pasted as Pillow does.

Source: reference: envs/image_positioning.py (`reset`, `_render_frame`); Pillow (`Image.rotate`, its fixed-point
affine transform).
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

_ONE = 65536


def colored_noise(white: Float[Array, "side side"], power_decay: float) -> UInt8[Array, "side side"]:
    """White noise whose spectrum falls with frequency to a power, scaled to 0 to 255.

    Args:
        white: independent normal numbers.
        power_decay: 0 keeps the noise white, 1 makes amplitudes fall with the inverse frequency.
    """
    side = white.shape[0]
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1.0
    spectrum = jnp.fft.rfft2(white) * jnp.asarray(frequency**-power_decay, white.dtype)
    noise = jnp.fft.irfft2(spectrum, s=(side, side))
    noise -= noise.min()
    return (noise / noise.max() * 255.0).astype(jnp.uint8)


def render_frame(
    noise: UInt8[Array, "double double"],
    background: Float[Array, "2"],
    locations: Float[Array, "n 2"],
    rotations: Float[Array, " n"],
    pictures: Sequence[np.ndarray],
) -> UInt8[Array, "height width 3"]:
    """Draw a frame.

    Args:
        noise: twice as high and wide as the frame.
        background: first row and column of the noise that is seen, over the frame's side.
        locations: x, y of every picture's upper left corner, over the frame's side.
        rotations: turns counterclockwise.
        pictures: pixels [height, width, 3] of each; later ones lie on top.

    Returns:
        RGB image.
    """
    side = noise.shape[0] // 2
    row, column = _whole(background, side)
    seen = jax.lax.dynamic_slice(noise, (row, column), (side, side))
    room = max((max(picture.shape[:2]) for picture in pictures), default=0)
    image = jnp.broadcast_to(jnp.pad(seen, (0, room))[..., None], (side + room, side + room, 3))
    for picture, location, rotation in zip(pictures, locations, rotations, strict=True):
        left, top = _whole(location, side)
        image = jax.lax.dynamic_update_slice(image, turned(picture, rotation), (top, left, jnp.zeros_like(top)))
    return image[:side, :side]


def turned(picture: np.ndarray, turns: Float[Array, ""]) -> UInt8[Array, "height width 3"]:
    """A picture turned about its centre, counterclockwise; the nearest pixel counts, black where there is none.

    Args:
        picture: pixels [height, width, 3].
        turns: whole turns.
    """
    height, width = picture.shape[:2]
    angle = -2.0 * math.pi * turns
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle_x, middle_y = width / 2, height / 2
    x, y = jnp.arange(width)[None, :], jnp.arange(height)[:, None]
    # Where pixel centres come from, in 1/65536 px; the middle's own offset is taken apart to keep float32 exact enough.
    from_x = _fixed(middle_x - cos * (middle_x - 0.5) - sin * (middle_y - 0.5)) + x * _fixed(cos) + y * _fixed(sin)
    from_y = _fixed(middle_y + sin * (middle_x - 0.5) - cos * (middle_y - 0.5)) - x * _fixed(sin) + y * _fixed(cos)
    column, row = from_x >> 16, from_y >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    source = jnp.asarray(picture)[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return jnp.where(inside[..., None], source, jnp.uint8(0))


def _fixed(value: Float[Array, ""]) -> Int[Array, ""]:
    return jnp.floor(value * _ONE + 0.5).astype(jnp.int32)


def _whole(fractions: Float[Array, "2"], side: int) -> Int[Array, "2"]:
    """Fractions of the side in px, cut off and kept inside it."""
    return jnp.clip((fractions * side).astype(jnp.int32), 0, side)
