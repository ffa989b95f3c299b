"""The policy distribution of TD-MPC2: a Gaussian squashed into (-1, 1) by tanh."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

HALF_LOG_TAU = 0.9189385175704956
"""Half the logarithm of 2 pi, with the digits of the reference."""


def log_std(x: Float[Array, "*batch A"]) -> Float[Array, "*batch A"]:
    """The network's output bounded to a log standard deviation in (-10, 2)."""
    return -10 + 6 * (jnp.tanh(x) + 1)


def gaussian_log_prob(noise: Float[Array, "*batch A"], log_std: Float[Array, "*batch A"]) -> Float[Array, "*batch"]:
    """Log-density of mean + exp(log_std) * noise, before squashing.

    Args:
        noise: Standard normal draws.
        log_std: Log standard deviations.

    Returns:
        Sums over the action's entries.
    """
    return jnp.sum(-0.5 * jnp.square(noise) - log_std - HALF_LOG_TAU, axis=-1)


def squash(
    raw: Float[Array, "*batch A"], log_prob: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch A"], Float[Array, "*batch"]]:
    """Squash a draw and correct its log-density.

    Args:
        raw: A draw of the Gaussian.
        log_prob: Its log-density.

    Returns:
        The action in [-1, 1] and its log-density.

    Source: Haarnoja et al. 2018, appendix C; reference, `wm/tdmpc2/module.py`.
    """
    action = jnp.tanh(raw)
    return action, log_prob - jnp.sum(jnp.log(jax.nn.relu(1 - jnp.square(action)) + 1e-6), axis=-1)
