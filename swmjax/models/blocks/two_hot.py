"""Numbers as weights of bins on a logarithmic scale: the targets of TD-MPC2's rewards and values."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from envs_mjx.checks import UserError, check_counts, check_integer


@dataclass(frozen=True)
class Bins:
    """`count` bins, evenly spaced from `low` to `high` in units of symlog."""

    count: int = 101
    low: float = -10.0
    high: float = 10.0

    def __post_init__(self) -> None:
        check_counts("Bins", count=self.count)
        check_integer("Bins.count", self.count, 2)
        if not self.low < self.high:
            raise UserError(f"Bins.low must be below high ({self.high}), got {self.low}")


def symlog(x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """sign(x) log(1 + |x|)."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The inverse of `symlog`."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def two_hot(x: Float[Array, "*batch"], bins: Bins) -> Float[Array, "*batch K"]:
    """The weights of the two bins around each number.

    Args:
        x: Numbers in their own unit; beyond the outer bins they are clipped.
        bins: The bins.

    Returns:
        Weights that sum to 1. As in the reference, a number at or above the last bin gets the last bin but one.

    Source: Hansen et al. 2024; reference, `wm/tdmpc2/module.py`.
    """
    place = (jnp.clip(symlog(x), bins.low, bins.high) - bins.low) / ((bins.high - bins.low) / (bins.count - 1))
    lower = jnp.floor(place)
    share = (place - lower)[..., None]
    lower = jnp.minimum(lower.astype(int), bins.count - 2)
    first = jax.nn.one_hot(lower, bins.count, dtype=x.dtype)
    second = jax.nn.one_hot(lower + 1, bins.count, dtype=x.dtype)
    return (1 - share) * first + share * second


def two_hot_inverse(logits: Float[Array, "*batch K"], bins: Bins) -> Float[Array, "*batch"]:
    """The number that logits over the bins stand for: symexp of the mean bin.

    Args:
        logits: Unnormalised log-weights.
        bins: The bins.

    Returns:
        Numbers in their own unit.
    """
    centers = jnp.linspace(bins.low, bins.high, bins.count, dtype=logits.dtype)
    # At full precision: on a GPU the default would round the weights to ten bits.
    return symexp(jnp.matmul(jax.nn.softmax(logits, axis=-1), centers, precision=jax.lax.Precision.HIGHEST))
