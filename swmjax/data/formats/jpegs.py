"""Images that stay the JPEG files that they are while episodes are copied, so that nothing of them is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.jpeg import File, decode_jpegs, jpeg_shape


class Jpegs:
    """A column of images as JPEG files; NumPy takes it for the array of its frames, which it decodes then.

    Args:
        files: One a row, all of the same height, width and number of channels.
        place: Says where a row was found, for messages.

    Raises:
        UserError: A file is no picture, or of another size than the first.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, files: Sequence[File], place: Callable[[int], str]):
        shapes = [jpeg_shape(file, place(row)) for row, file in enumerate(files)]
        for row, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise UserError(f"{place(row)} is a picture of {shape}, and {place(0)} one of {shapes[0]}")
        self.files, self.shape, self._place = list(files), (len(files), *shapes[0]), place

    def __len__(self) -> int:
        return len(self.files)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        length, height, width, channels = self.shape
        frames = np.empty((length, height, width, 3), np.uint8)
        decode_jpegs(self.files, frames, self._place)
        return (frames if channels == 3 else frames[..., :1]).astype(dtype or np.uint8, copy=False)
