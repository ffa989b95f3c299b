"""Discrete actions on a polar grid.

Source: reference, envs/quantizer.py.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from envs_mjx.checks import UserError, check_count, is_finite_number


@dataclass(frozen=True)
class PolarQuantizer:
    """Bins of a plane vector by its length and its direction; hashable, its methods pure.

    The zero vector is no bin's centre, and vectors longer than `max_action_distance` fall into the outermost ring.

    Args:
        num_bins_radial: Rings.
        num_bins_angular: Sectors, the first one counterclockwise from the direction of x.
        max_action_distance: Length at which the outermost ring ends.

    Raises:
        UserError: a number of bins is not a positive integer, or the distance not a positive number.
    """

    num_bins_radial: int = 16
    num_bins_angular: int = 16
    max_action_distance: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_bins_radial", "num_bins_angular"):
            check_count(name, getattr(self, name))
        distance = self.max_action_distance
        if not is_finite_number(distance) or not distance > 0:
            raise UserError(f"max_action_distance must be a finite number above 0, got {distance!r}")

    @property
    def action_shape(self) -> tuple[int, int]:
        """Number of rings and of sectors."""
        return self.num_bins_radial, self.num_bins_angular

    def quantize(self, action: Float[Array, "2"]) -> Int[Array, "2"]:
        """Ring and sector of a vector.

        Args:
            action: x and y.

        Returns:
            int32, each from 0.
        """
        radius = jnp.sqrt((action**2).sum())
        turn = jnp.mod(jnp.arctan2(action[1], action[0]), 2 * np.pi)
        place = jnp.stack([radius / self.max_action_distance, turn / (2 * np.pi)])
        bins = np.array(self.action_shape)
        return jnp.clip(place * bins, 0, bins - 1).astype(jnp.int32)

    def dequantize(self, quantized_action: Int[Array, "2"]) -> Float[Array, "2"]:
        """Vector in the middle of a bin, float32.

        Args:
            quantized_action: ring and sector.
        """
        # The reference computes in double precision and rounds at the end; so does a table.
        rings = (np.arange(self.num_bins_radial) + 0.5) / self.num_bins_radial * self.max_action_distance
        sectors = (np.arange(self.num_bins_angular) + 0.5) / self.num_bins_angular * 2 * np.pi
        directions = np.stack([np.cos(sectors), np.sin(sectors)], axis=-1)
        table = (rings[:, None, None] * directions[None]).astype(np.float32)
        return jnp.asarray(table)[quantized_action[0], quantized_action[1]]
