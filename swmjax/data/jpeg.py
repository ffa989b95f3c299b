"""Frames as JPEG, with the settings of the reference's datasets."""

import io
import threading
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from envs_mjx.checks import UserError, needs_extra
from swmjax.data.threads import each

QUALITY = 95
"""JPEG quality; chroma is subsampled, as Pillow does by default."""
MOST_PIXELS = 2**26
"""Pictures that claim to be larger are refused: a few bytes could claim gigabytes."""
File = bytes | memoryview | np.ndarray | None
"""What holds a JPEG file; None where there is none."""


@runtime_checkable
class Files(Protocol):
    """Files by number; each may be read when it is asked for, in the thread that decodes it."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> File: ...


def encode_jpeg(frame: UInt8[np.ndarray, "H W C"]) -> bytes:
    """A JPEG file of a frame with 1 or 3 channels.

    Source: reference, `data/formats/lance.py`.
    """
    return encode_jpegs(frame[None])[0]


def encode_jpegs(frames: UInt8[np.ndarray, "R H W C"]) -> list[bytes]:
    """JPEG files of frames with 1 or 3 channels, made in threads; see `encode_jpeg`."""
    # Pillow itself: TurboJPEG takes a rougher cosine transform at this quality, and would write other files.
    from PIL import Image

    files, (height, width, channels) = [b""] * len(frames), frames.shape[1:]
    own = threading.local()

    def encode(row: int) -> None:
        file, frame = io.BytesIO(), np.ascontiguousarray(frames[row])
        if channels == 3:
            own.padded = frame = _padded(frame, getattr(own, "padded", None))
        mode = "L" if channels == 1 else "RGBX"
        picture = Image.frombuffer(mode, (width, height), frame, "raw", mode, 0, 1)
        picture.save(file, "JPEG", quality=QUALITY)
        files[row] = file.getvalue()

    each(encode, len(frames))
    return files


def _padded(frame: UInt8[np.ndarray, "H W 3"], out: np.ndarray | None) -> UInt8[np.ndarray, "H W 4"]:
    """A frame with four bytes a pixel, as Pillow holds it; to have Pillow make that takes as long as encoding does."""
    height, width, _ = frame.shape
    out = np.empty((height, width, 4), np.uint8) if out is None else out
    # Four bytes at a time, the last of them from the next pixel; behind the last pixel there is none.
    pixels = np.ndarray((height * width - 1,), np.uint32, frame, 0, (3,))
    out.view(np.uint32).reshape(-1)[:-1] = pixels
    out[-1, -1, :3] = frame[-1, -1]
    return out


def decode_jpeg(data: File, place: str = "the file") -> UInt8[np.ndarray, "H W 3"]:
    """The frame of a JPEG file, RGB.

    Args:
        data: the file.
        place: where it was found, for the message.

    Raises:
        UserError: it is no picture, a damaged one, or too large.
    """
    height, width, _ = jpeg_shape(data, place)
    frames = np.empty((1, height, width, 3), np.uint8)
    decode_jpegs([data], frames, lambda _: place)
    return frames[0]


def decode_jpegs(files: Files, out: UInt8[np.ndarray, "R H W 3"], place: Callable[[int], str]) -> None:
    """Decode JPEG files of frames of one size, in threads; a file is not decoded before its size is known.

    Args:
        files: R files, of 1 or 3 channels.
        out: where the frames go, RGB; every frame without gaps.
        place: says where a row was found, for the message.

    Raises:
        UserError: a file is no picture, a damaged one, or of another size.
        MissingExtraError: simplejpeg is not installed; the message says how to install it.
    """
    simplejpeg = _simplejpeg()
    header, decode, size = simplejpeg.decode_jpeg_header, simplejpeg.decode_jpeg, out.shape[1:3]

    def work(row: int) -> None:
        data = files[row]
        try:
            if header(data)[:2] == size:
                decode(data, buffer=out[row])
                return
        except (TypeError, ValueError) as error:
            jpeg_shape(data, place(row))
            raise UserError(f"{place(row)} holds a damaged picture: {error}") from error
        height, width, _ = jpeg_shape(data, place(row))
        raise UserError(f"{place(row)} is a picture of {height} x {width} px; expected are {size[0]} x {size[1]} px")

    each(work, len(files))


def jpeg_shape(data: File, place: str) -> tuple[int, int, int]:
    """Height, width and channels, 1 or 3, of the frame of a JPEG file, as its header says.

    Args:
        data: the file.
        place: where it was found, for the message.

    Raises:
        UserError: it is no picture, or too large.
        MissingExtraError: simplejpeg is not installed; the message says how to install it.
    """
    try:
        height, width, colours, _ = _simplejpeg().decode_jpeg_header(data)
    except (TypeError, ValueError) as error:
        raise UserError(f"{place} holds something that is no picture; allowed are JPEG files") from error
    if height * width > MOST_PIXELS:
        raise UserError(f"{place} is a picture of {height} x {width} px; at most {MOST_PIXELS:,} pixels are decoded")
    return height, width, 1 if colours == "Gray" else 3


def _simplejpeg() -> Any:
    with needs_extra("JPEG files need", "data"):
        import simplejpeg
    return simplejpeg
