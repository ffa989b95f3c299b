"""Shrinking a square canvas to N x N pixels with the rounding of OpenCV's default bilinear resize."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from envs_mjx.checks import UserError

_ONE = 2048  # OpenCV keeps its coefficients in 11 bits


@dataclasses.dataclass(frozen=True)
class Resize:
    """Which canvas pixels an output pixel is made of, the same on both axes.

    Output pixel `i` mixes canvas pixels `first(i)` and `first(i) + 1`; with `taps == 1` it copies `first(i)`.
    """

    canvas: int
    size: int

    def __post_init__(self) -> None:
        if self.canvas < 1 or self.canvas & (self.canvas - 1):
            raise UserError(f"canvas is {self.canvas}, it must be a power of two")
        if self.size < 1:
            raise UserError(f"size is {self.size}, it must be at least 1 pixel")

    @property
    def taps(self) -> int:
        """Canvas pixels an output pixel reads along each axis: 2, or 1 for a plain copy."""
        return 1 if self.size == self.canvas else 2

    @property
    def columns(self) -> np.ndarray:
        """Canvas columns [taps, size] that are sampled; -1 and `canvas` lie just outside and have no weight."""
        return np.stack([self._first() + tap for tap in range(self.taps)])

    def _first(self) -> np.ndarray:
        return (((2 * np.arange(self.size) + 1) * self.canvas - self.size) // (2 * self.size)).astype(np.int32)

    @property
    def rows(self) -> np.ndarray:
        """Canvas rows [taps, size] that are sampled."""
        return np.clip(self.columns, 0, self.canvas - 1)

    @property
    def row_weights(self) -> np.ndarray:
        """Weight [2, size] of the two rows of each output row, out of 2048."""
        position = ((np.arange(self.size) + 0.5) * (self.canvas / self.size) - 0.5).astype(np.float32)
        fraction = position - np.floor(position)
        weights = np.stack([np.float32(1) - fraction, fraction]) * np.float32(_ONE)
        return np.rint(weights).astype(np.int32)

    @property
    def column_weights(self) -> np.ndarray:
        """Weight [2, size] of the two columns; all on the inner one where the other lies outside the canvas."""
        first = self._first()
        weights = np.where(first < 0, np.array([[0], [_ONE]]), self.row_weights)
        return np.where(first >= self.canvas - 1, np.array([[_ONE], [0]]), weights).astype(np.int32)

    def count_below(self, coordinate: Int[Array, "*dims"]) -> Int[Array, "taps *dims"]:
        """How many sampled columns of each tap lie left of a canvas column, between 0 and `size`."""
        shift = self.canvas.bit_length()  # of 2 * canvas, less one
        counts = [
            ((2 * (coordinate - tap) + 1) * self.size - self.canvas + 2 * self.canvas - 1) >> shift
            for tap in range(self.taps)
        ]
        return jnp.clip(jnp.stack(counts), 0, self.size)

    def blend(
        self,
        samples: Sequence[Sequence[Int[Array, "*dims"]]],
        row_weights: Int[Array, "2 ..."],
        column_weights: Int[Array, "2 ..."],
    ) -> Int[Array, "*dims"]:
        """Mix canvas samples into output pixels.

        Args:
            samples: `samples[row tap][column tap]`, one channel, 0 to 255.
            row_weights: `row_weights` of the output rows, shaped to broadcast against a sample.
            column_weights: `column_weights` of the output columns, likewise.

        Returns:
            Channel values, 0 to 255.

        Source: OpenCV `resize` for 8-bit INTER_LINEAR: exact horizontal sums, then a vertical pass that drops 4 bits,
        16 bits and rounds the last 2; an exact halving is an area average instead.
        """
        if self.taps == 1:
            return samples[0][0]
        if 2 * self.size == self.canvas:
            return (samples[0][0] + samples[0][1] + samples[1][0] + samples[1][1] + 2) >> 2
        upper, lower = ((s[0] * column_weights[0] + s[1] * column_weights[1]) >> 4 for s in samples)
        return (((upper * row_weights[0]) >> 16) + ((lower * row_weights[1]) >> 16) + 2) >> 2
