"""Statistics of the training data: between the environment's units and the model's."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Array, Float

from envs_mjx.checks import UserError


@dataclass(frozen=True)
class Scaler:
    """Standardisation of single environment actions, or of an observed vector, as the model saw them in training.

    Args:
        mean: Mean of every entry.
        std: Standard deviation of every entry, above 0.

    Raises:
        UserError: The two differ in length, or a deviation is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise UserError(f"mean and std must have the same length, got {len(self.mean)} and {len(self.std)}")
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or min(self.std, default=1.0) <= 0.0:
            raise UserError(
                f"mean must be finite and std finite and above 0, got {list(self.mean)} and {list(self.std)}"
            )

    @classmethod
    def identity(cls, size: int) -> "Scaler":
        """Mean 0 and standard deviation 1."""
        return cls((0.0,) * size, (1.0,) * size)

    def to_env(self, values: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """The environment's values of standardised ones."""
        mean, std = self._arrays(values)
        return values * std + mean

    def to_model(self, values: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """Standardised values of the environment's."""
        mean, std = self._arrays(values)
        return (values - mean) / std

    def space(self, space: Box) -> Box:
        """The environment's action space in standardised units."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        if space.shape != mean.shape:
            raise UserError(f"action statistics have {mean.size} entries, the environment's actions {space.shape}")
        return Box((space.low - mean) / std, (space.high - mean) / std, dtype=np.float32)

    def _arrays(self, values: Array) -> tuple[Array, Array]:
        shape = (1,) * (values.ndim - 1) + (-1,)
        mean, std = (jnp.asarray(entries, values.dtype).reshape(shape) for entries in (self.mean, self.std))
        return mean, std
