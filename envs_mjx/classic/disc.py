"""Pygame's anti-aliased discs, from stamps that are made once by walking their rims.

Source: pygame 2.6 SDL_gfxPrimitives.c (`aaellipseColor`, `filledCircleColor`).
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from envs_mjx.classic.gfx import FULL, RGB, blend, window

_MIN_RADIUS = 2


def draw_disc(
    picture: UInt32[Array, "H W"], center: Int[Array, "2"], radius: int | Int[Array, ""], color: RGB, max_radius: int
) -> UInt32[Array, "H W"]:
    """Draw a disc with an anti-aliased rim: `aacircle`, then `filled_circle`.

    Args:
        picture: what is drawn on.
        center: x, y.
        radius: 2 to `max_radius`; others are clipped.
        color: of rim and inside.
        max_radius: largest radius that can be asked for (static).
    """
    stamps = jnp.asarray(_stamps(max_radius))
    stamp = stamps[jnp.clip(radius, _MIN_RADIUS, max_radius) - _MIN_RADIUS]
    reach = stamp.shape[0] // 2
    tile, y, x, place = window(picture, center[1] - reach, center[0] - reach, (stamp.shape[0], stamp.shape[1]))
    # Where the disc leaves the picture the window is moved, but not the disc.
    row, column = y - (center[1] - reach), x - (center[0] - reach)
    inside = ((row >= 0) & (row < len(stamp)))[:, None] & ((column >= 0) & (column < len(stamp)))[None, :]
    amount = stamp.at[row[:, None], column[None, :]].get(mode="clip")
    return place(blend(tile, color, jnp.where(inside, amount, 0)))


@functools.cache
def _stamps(max_radius: int) -> np.ndarray:
    """Shares of the colour [radius, y, x] that the pixels of discs of radius 2 and more take, int32."""
    side = 2 * max_radius + 3
    stamps = np.zeros((max_radius + 1 - _MIN_RADIUS, side, side), np.int32)
    for radius, stamp in enumerate(stamps, _MIN_RADIUS):
        for (x, y), share in (_rim(radius) | _inside(radius)).items():
            stamp[y + side // 2, x + side // 2] = share
    return stamps


def _rim(radius: int) -> dict[tuple[int, int], int]:
    """Shares of the pixels of a rim by x and y from the middle.

    A quadrant is walked in two halves, along its longer axis each, and mirrored. Of the pixels that are met twice, only
    those under the inside have two shares that count.
    """
    shares: dict[tuple[int, int], int] = {}

    def put(x: int, y: int, error: int, slope: int, swapped: bool) -> None:
        fraction = min(np.float32(abs(error)) / np.float32(abs(slope)), np.float32(1)) if slope else np.float32(1)
        weight = int(fraction * np.float32(255))
        share = 255 * (weight if swapped else 255 - weight) >> 8
        for at in ((x, y), (-x, y), (x, -y), (-x, -y)):
            shares[at] = max(shares.get(at, 0), share)

    square = radius * radius
    diagonal = round(square / math.sqrt(2 * square))
    x, y, error, slope_x, slope_y = 0, -radius, 0, 0, -2 * square * radius
    shares[0, -radius] = shares[0, radius] = FULL
    for _ in range(diagonal):
        x -= 1
        error += slope_x - square
        other = y - 1
        if error < 0:
            nearer = error - slope_y - square > 0
            if nearer and 2 * error - slope_y - square >= 0:
                other = y + 1
            else:
                other = y if nearer else y + 2
                y += 1
                error -= slope_y + square
                slope_y += 2 * square
        slope_x -= 2 * square
        put(x, y, error, slope_y, False)
        put(x, other, error, slope_y, True)
    for _ in range(diagonal):
        y += 1
        error -= slope_y + square
        other = x + 1
        if error > 0:
            nearer = error + slope_x - square < 0
            if nearer and 2 * error + slope_x - square <= 0:
                other = x - 1
            else:
                other = x if nearer else x - 2
                x -= 1
                error += slope_x - square
                slope_x -= 2 * square
        slope_y += 2 * square
        put(x, y, error, slope_x, False)
        put(other, y, error, slope_x, True)
    return shares


def _inside(radius: int) -> dict[tuple[int, int], int]:
    """The pixels of a filled disc."""
    halves: dict[int, int] = {}
    short, long, decision, straight, oblique = 0, radius, 1 - radius, 3, 5 - 2 * radius
    while short <= long:
        # A row near the top keeps the width that it has when it is met first.
        halves.setdefault(long, short)
        if short != long:
            halves[short] = max(halves.get(short, 0), long)
        if decision < 0:
            decision += straight
            oblique += 2
        else:
            decision += oblique
            oblique += 4
            long -= 1
        straight += 2
        short += 1
    return {(x, y): FULL for row, half in halves.items() for y in (row, -row) for x in range(-half, half + 1)}
