"""Resizing a whole frame with the antialiased bilinear filter of Pillow, rounding included."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from envs_mjx.checks import UserError

_BITS = 22  # Pillow keeps its weights in 22 fractional bits: 8 bits of image and 22 of weight fit a signed 32-bit sum


def resize_antialiased(image: UInt8[Array, "H W 3"], height: int, width: int) -> UInt8[Array, "{height} {width} 3"]:
    """Resize a frame exactly as `Image.resize((width, height), Image.BILINEAR)` does.

    A triangle filter, widened by the scale when shrinking, goes along the rows and then along the columns, with a
    rounding to 8 bits in between. Pillow 13 and later take the columns first where the height shrinks by more than
    twice as many pixels as the width; then a few colours differ by 1 of 255. Each output pixel reads at most
    2 * scale + 1 pixels along each axis, and compile time grows with that number.

    Args:
        image: colours, 0 to 255.
        height: rows of the result, px; static.
        width: columns of the result, px; static.

    Returns:
        The resized frame; the frame itself if the size is already right.

    Raises:
        UserError: if the image is no 8-bit RGB frame or a size is below 1 px.

    Source: Pillow `Resample.c` (`precompute_coeffs`, `normalize_coeffs_8bpc`); reference: wrapper/default.py
    (`AddPixelsWrapper`).
    """
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape or image.dtype != jnp.uint8:
        raise UserError(f"image is {image.dtype} {image.shape}, it must be uint8 [height, width, 3]")
    if height < 1 or width < 1:
        raise UserError(f"size is {height} x {width}, each side must be at least 1 pixel")
    if width != image.shape[1]:
        image = _resize_rows(image.transpose(1, 0, 2), width).transpose(1, 0, 2)
    if height != image.shape[0]:
        image = _resize_rows(image, height)
    return image


def _resize_rows(image: UInt8[Array, "rows columns 3"], size: int) -> UInt8[Array, "{size} columns 3"]:
    """Mix the rows of an image into `size` rows, rounded to 8 bits."""
    indices, weights = _taps(image.shape[0], size)
    total = jnp.full((size, *image.shape[1:]), 1 << (_BITS - 1), jnp.int32)
    for index, weight in zip(indices, weights, strict=True):
        total += image[index].astype(jnp.int32) * weight[:, None, None]
    return (total >> _BITS).astype(jnp.uint8)


def _taps(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Source pixels [taps, after] of every output pixel and their weights, out of 2**22; both int32."""
    scale = before / after
    reach = max(scale, 1.0)
    centre = (np.arange(after) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int32), 0)
    stop = np.minimum((centre + reach + 0.5).astype(np.int32), before)
    indices = first + np.arange(2 * math.ceil(reach) + 1, dtype=np.int32)[:, None]
    weights = np.maximum(1.0 - np.abs((indices - centre + 0.5) * (1.0 / reach)), 0.0)
    weights[indices >= stop] = 0.0
    # cumsum adds from left to right as Pillow's loop does; np.sum adds in pairs and may differ in the last bit.
    weights /= np.cumsum(weights, axis=0)[-1]
    rounded = (weights * (1 << _BITS) + 0.5).astype(np.int32)
    used = rounded.any(axis=1)
    return np.minimum(indices, before - 1)[used], rounded[used]
