"""Pictures that ImagePositioning moves: hashable, so that an environment that holds them stays static under `jit`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs_mjx.checks import UserError

MAX_PICTURES = 10
BORDER = 5
"""Width of the frame around every picture, px."""

# Colours of the frames: matplotlib's default cycle.
_FRAMES = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (127, 127, 127),
    (188, 189, 34),
    (23, 190, 207),
)
_SIDE = 32


@dataclass(frozen=True)
class Picture:
    """An RGB picture; made with `Picture.of`.

    Attributes:
        height: rows.
        width: columns.
        data: its pixels, row by row.
    """

    height: int
    width: int
    data: bytes

    @classmethod
    def of(cls, pixels: Any) -> "Picture":
        """From an array [height, width, 3] of whole numbers 0 to 255, or what NumPy turns into one (a PIL image).

        Raises:
            UserError: another shape or kind of number.
        """
        array = np.asarray(pixels)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
            raise UserError(f"a picture is uint8 of shape [height, width, 3], got {array.dtype} of {array.shape}")
        return cls(array.shape[0], array.shape[1], array.tobytes())

    def pixels(self) -> np.ndarray:
        """The pixels, uint8 [height, width, 3]."""
        return np.frombuffer(self.data, np.uint8).reshape(self.height, self.width, 3)


def framed(pictures: tuple[Picture, ...]) -> list[np.ndarray]:
    """Pixels of the pictures, each in a frame of its own colour."""
    frames = []
    for picture, color in zip(pictures, _FRAMES, strict=False):
        frame = np.empty((picture.height + 2 * BORDER, picture.width + 2 * BORDER, 3), np.uint8)
        frame[:] = color
        frame[BORDER:-BORDER, BORDER:-BORDER] = picture.pixels()
        frames.append(frame)
    return frames


def default_pictures() -> tuple[Picture, ...]:
    """Three pictures of 32 x 32 px that no turn maps onto themselves: a ramp, a half disc and uneven stripes."""
    along = np.linspace(0, 255, _SIDE).astype(np.uint8)
    row, column = np.meshgrid(along, along, indexing="ij")
    ramp = np.stack([row, column, 255 - row], axis=-1)
    y, x = np.indices((_SIDE, _SIDE)) - (_SIDE - 1) / 2
    disc = np.where(((x**2 + y**2 < 200) & (y < 0))[..., None], (250, 220, 40), (20, 60, 90)).astype(np.uint8)
    stripes = np.where((column // 16 % 4 < 1 + row // 128)[..., None], (235, 235, 235), (120, 20, 60)).astype(np.uint8)
    return tuple(Picture.of(pixels) for pixels in (ramp, disc, stripes))
