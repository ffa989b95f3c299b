"""MountainCar's track and its picture, which no factor changes.

Source: Gymnasium classic_control/mountain_car.py; pygame 2.6 draw.c (`draw_aaline`).
"""

import functools
import itertools
import math
from types import ModuleType
from typing import Any

import numpy as np


def height(position: Any, library: ModuleType) -> Any:
    """Height of the track, in the unit of positions, computed with NumPy or with its JAX namesake."""
    return library.sin(3 * position) * 0.45 + 0.55


@functools.cache
def track_picture(left: float, right: float, scale: float) -> np.ndarray:
    """Picture [400, 600] of the bare track: 100 points between two positions joined by black anti-aliased lines.

    Words as in `gfx`, y up. The sums are pygame's in float32.
    """
    positions = np.linspace(left, right, 100)
    points = np.stack([(positions - left) * scale, height(positions, np) * scale], axis=1).astype(np.float32)
    levels = np.full((400, 600), 255, np.uint32)
    for start, end in itertools.pairwise(points):
        _draw_aaline(levels, start, end)
    return levels * np.uint32(0x010101)


def _draw_aaline(levels: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    """Blend a black line into grey levels; it may leave them to the right and at the bottom by a pixel."""
    one = np.float32(1)
    steep = abs(end[0] - start[0]) < abs(end[1] - start[1])
    if steep:
        start, end = start[::-1], end[::-1]
    if end[0] < start[0]:
        start, end = end, start
    gradient = (end[1] - start[1]) / (end[0] - start[0])
    # One pixel down: the truncation of heights then rounds down just above the edge too.
    (u0, v0), (u1, v1) = start, end
    v0, v1 = v0 + one, v1 + one

    def darken(along: int, v: np.float32, upper: np.float32, lower: np.float32) -> None:
        """Blend the pixels on both sides of a point of the line."""
        whole = int(v)
        for aside, brightness in ((whole - 1, upper), (whole, lower)):
            at = (along, aside) if steep else (aside, along)
            if 0 <= aside < v and at[0] < levels.shape[0] and at[1] < levels.shape[1]:
                levels[at] = int((one - brightness) * np.float32(levels[at]))

    def end_point(along: int, v: np.float32, share: np.float32) -> None:
        lower = v - np.float32(int(v))
        darken(along, v, (one - lower) * share, lower * share)

    first, last = int(u0), math.ceil(u1)
    v = v0 + gradient * (np.float32(first) - u0)
    end_point(first, v, np.float32(1 + first) - u0)
    end_point(last, v1 + gradient * (np.float32(last) - u1), np.float32(1 - last) + u1)
    for along in range(first + 1, last):
        v = v + gradient
        upper = one - v + np.float32(int(v))
        darken(along, v, upper, one - upper)
