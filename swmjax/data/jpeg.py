"""Frames as JPEG, with the settings of the reference's datasets."""

import io

import imageio.v3 as iio
import numpy as np
from jaxtyping import UInt8

from envs_mjx.checks import UserError

QUALITY = 95
"""JPEG quality; chroma is subsampled, as Pillow does by default."""


def encode_jpeg(frame: UInt8[np.ndarray, "H W C"]) -> bytes:
    """A JPEG file of a frame with 1 or 3 channels.

    Source: reference, `data/formats/lance.py`.
    """
    picture = frame[..., 0] if frame.shape[-1] == 1 else frame
    file = io.BytesIO()
    iio.imwrite(file, np.ascontiguousarray(picture), extension=".jpg", plugin="pillow", quality=QUALITY)
    return file.getvalue()


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """The frame of a JPEG file, RGB."""
    return iio.imread(io.BytesIO(data), extension=".jpg", plugin="pillow", mode="RGB")


def jpeg_shape(data: bytes, place: str) -> tuple[int, ...]:
    """Height, width and channels of the frame of a JPEG file.

    Args:
        data: the file.
        place: where it was found, for the message.

    Raises:
        UserError: it is no picture.
    """
    try:
        height, width, *channels = iio.improps(io.BytesIO(data), plugin="pillow").shape
    except OSError as error:
        raise UserError(f"{place} holds something that is no picture; allowed are JPEG files") from error
    return height, width, *(channels or [1])
