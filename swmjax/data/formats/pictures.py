"""Pictures in files of any kind that datasets hold, PNG above all."""

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8

from envs_mjx.checks import UserError
from swmjax.data.jpeg import MOST_PIXELS, decode_jpeg, jpeg_shape

_JPEG = b"\xff\xd8"


def decode_picture(data: bytes, place: str) -> UInt8[np.ndarray, "H W 3"]:
    """The picture of a file, RGB; its size is looked at before it is decoded.

    Args:
        data: The file.
        place: Where it was found, for the message.

    Raises:
        UserError: It is no picture, a damaged one, or too large.
    """
    if data.startswith(_JPEG):
        return decode_jpeg(data, place)
    try:
        with _opened(data) as file:
            _check_size(file, place)
            return file.read(index=0, mode="RGB")
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file leads the decoder to
        raise UserError(f"{place} holds something that is no picture, or a damaged one: {error}") from error


def picture_size(data: bytes, place: str) -> tuple[int, int]:
    """Height and width of the picture of a file, px, as its header says.

    Args:
        data: The file.
        place: Where it was found, for the message.

    Raises:
        UserError: It is no picture, or too large.
    """
    if data.startswith(_JPEG):
        return jpeg_shape(data, place)[:2]
    try:
        with _opened(data) as file:
            return _check_size(file, place)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{place} holds something that is no picture") from error


def _opened(data: bytes) -> Any:
    import imageio.v3 as iio  # not above: datasets without such pictures do not need it

    return iio.imopen(io.BytesIO(data), "r", plugin="pillow")


def _check_size(file: Any, place: str) -> tuple[int, int]:
    height, width = file.properties(index=0).shape[:2]
    if height * width > MOST_PIXELS:
        raise UserError(f"{place} is a picture of {height} x {width} px; at most {MOST_PIXELS:,} pixels are decoded")
    return int(height), int(width)
