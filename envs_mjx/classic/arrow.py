"""Pendulum's arrow: Gymnasium's picture of it, scaled with the torque as pygame's `smoothscale` does.

Source: Gymnasium classic_control/pendulum.py and its assets/clockwise.png; pygame 2.6 transform.c, scale_mmx64_gcc.c.
"""

import functools
import zlib
from pathlib import Path

import gymnasium
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from envs_mjx.checks import UserError
from envs_mjx.classic.gfx import BLACK, blend

_ONE = 0x4000  # pygame's 14 fractional bits
_MAX_SIDE = 227
"""Side of the arrow at the largest torque that the factors allow, 4 N m."""


def draw_arrow(picture: UInt32[Array, "H W"], torque: Float[Array, ""], scale: float) -> UInt32[Array, "H W"]:
    """Draw the arrow of a torque over the middle of a square picture.

    Args:
        picture: what is drawn on, upside down.
        torque: N m; more than 4 looks like 4, and 0 like nothing.
        scale: px per unit of length; the arrow is half of that times the torque wide and high.
    """
    alphas, starts = _scaled_arrows()
    side = (jnp.float32(scale) * jnp.abs(torque).astype(jnp.float32) / 2).astype(jnp.int32)
    side = jnp.clip(side, 0, _MAX_SIDE)
    half = (_MAX_SIDE + 1) // 2
    offset = jnp.arange(2 * half) - (half - side // 2)
    inside = (offset >= 0) & (offset < side)
    row, column = side - 1 - offset, jnp.where(torque > 0, side - 1 - offset, offset)
    index = jnp.asarray(starts)[side] + row[:, None] * side + column[None, :]
    inside = inside[:, None] & inside[None, :]
    amount = jnp.where(inside, jnp.asarray(alphas).at[index].get(mode="clip"), 0)
    middle = len(picture) // 2
    box = slice(middle - half, middle + half)
    return picture.at[box, box].set(blend(picture[box, box], BLACK, amount.astype(jnp.int32)))


@functools.cache
def _scaled_arrows() -> tuple[np.ndarray, np.ndarray]:
    """Opacities of the arrow at every side from 0 on, row by row and one after the other, and where each begins."""
    arrow = _read_opacity(Path(gymnasium.__file__).parent / "envs" / "classic_control" / "assets" / "clockwise.png")
    scaled = [_shrunk(_shrunk(arrow, side).T, side).T.reshape(-1) for side in range(1, _MAX_SIDE + 1)]
    starts = np.cumsum([0, 0, *map(len, scaled)])[:-1]
    return np.concatenate(scaled), starts.astype(np.int32)


def _shrunk(image: np.ndarray, size: int) -> np.ndarray:
    """Rows of an image averaged over stretches of equal length, in pygame's 16 bit integers."""
    image = image.astype(np.int64)
    length = image.shape[1]
    space = _ONE * length // size
    ends = space * np.arange(1, size + 1)
    # The pixel that a stretch shares with the next one, and its part that belongs to this one.
    last = -(-ends // _ONE) - 1
    part = ends - last * _ONE
    sums = np.concatenate([np.zeros((len(image), 1), np.int64), np.cumsum(image, axis=1)], axis=1)
    shared = 4 * image[:, last]
    left_over = np.pad((shared * (_ONE - part)[None] >> 16)[:, :-1], ((0, 0), (1, 0)))
    whole = sums[:, last] - np.pad(sums[:, last + 1][:, :-1], ((0, 0), (1, 0)))
    total = (left_over + whole + (shared * part[None] >> 16)) & 0xFFFF
    return np.minimum(total * (0x40000000 // space) >> 16, 255).astype(np.uint8)


def _read_opacity(path: Path) -> np.ndarray:
    """Opacity [rows, columns] of a PNG image of 8 bits in each of four channels."""
    data = path.read_bytes()
    chunks: dict[bytes, bytes] = {}
    place = 8
    while place < len(data):
        size, name = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        chunks[name] = chunks.get(name, b"") + data[place + 8 : place + 8 + size]
        place += size + 12
    header = chunks[b"IHDR"]
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    if header[8:] != bytes([8, 6, 0, 0, 0]):
        raise UserError(f"{path} is no plain image of four channels of 8 bits")
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 4 * width)
    # Plain lists: a byte depends on the one before it.
    opacity, above = [], [0] * width
    for kind, line in zip(lines[:, 0].tolist(), lines[:, 4::4].tolist(), strict=True):
        left = corner = 0
        for i, up in enumerate(above):
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda value: abs(guess - value))
            left = line[i] = (line[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
            corner = up
        opacity.append(line)
        above = line
    return np.asarray(opacity)
