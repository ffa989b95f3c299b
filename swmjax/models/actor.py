"""A trained actor: a tanh-squashed Gaussian from one flat observation."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

OBSERVATION_LIMIT = 10.0
"""Size at which standardised observations are clipped."""
MIN_STD = 1e-3
"""Least standard deviation before squashing."""
ACTIVATIONS = {"relu": jax.nn.relu, "swish": jax.nn.swish}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Actor:
    """Dense layers from standardised observations to a Gaussian that tanh squashes into (-1, 1).

    A pytree, whose arrays may also be tracers or shapes: pass it to compiled programs as an argument.

    Attributes:
        mean: Mean of the observations [O].
        std: Their standard deviation [O].
        kernels: Weights of the layers, each [inputs, outputs]; the last has twice as many outputs as the action.
        biases: Their biases, each [outputs].
        low: Lower bound of the environment's actions [A].
        high: Upper bound [A].
        observations: Entries of the environment's observation, in the order in which they are concatenated.
        activation: Between the layers: `relu` or `swish`.
    """

    mean: Any
    std: Any
    kernels: tuple[Any, ...]
    biases: tuple[Any, ...]
    low: Any
    high: Any
    observations: tuple[str, ...] = field(metadata={"static": True})
    activation: str = field(metadata={"static": True})

    def distribution(self, obs: Any) -> tuple[Float[Array, "*batch A"], Float[Array, "*batch A"]]:
        """Mean and standard deviation before squashing.

        Args:
            obs: Observations by name, with the same leading axes.

        Source: Haarnoja et al. 2018, appendix C, with the standard deviation of Brax' `NormalTanhDistribution`.
        """
        hidden = flat_observation(obs, self.observations)
        mean, std = (jnp.broadcast_to(part, hidden.shape) for part in (self.mean, self.std))
        hidden = jnp.clip((hidden - mean) / std, -OBSERVATION_LIMIT, OBSERVATION_LIMIT)
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            hidden = ACTIVATIONS[self.activation](hidden) if i else hidden
            hidden = hidden @ kernel
            hidden += jnp.broadcast_to(bias, hidden.shape)
        loc, raw = jnp.split(hidden, 2, axis=-1)
        return loc, jax.nn.softplus(raw) + MIN_STD

    def mode(self, obs: Any) -> Float[Array, "*batch A"]:
        """The most likely action before squashing, squashed: -1 to 1."""
        return jnp.tanh(self.distribution(obs)[0])

    def sample(self, key: Key[Array, ""], obs: Any) -> Float[Array, "*batch A"]:
        """A random action, -1 to 1."""
        loc, scale = self.distribution(obs)
        return jnp.tanh(loc + scale * jax.random.normal(key, loc.shape, loc.dtype))

    def to_env(self, action: Float[Array, "*batch A"]) -> Float[Array, "*batch A"]:
        """An action of -1 to 1 in the environment's bounds."""
        return scaled(action, self.low, self.high)


def flat_observation(obs: Any, names: tuple[str, ...]) -> Float[Array, "*batch O"]:
    """The entries of an observation, one after the other, float32."""
    return jnp.concatenate([obs[name].astype(jnp.float32) for name in names], axis=-1)


def scaled(
    action: Float[Array, "*batch A"], low: Float[Array, " A"], high: Float[Array, " A"]
) -> Float[Array, "*batch A"]:
    """Actions of -1 to 1 between bounds; those of -1 and 1 stay as they are, to the bit."""
    low, high = (jnp.broadcast_to(bound, action.shape) for bound in (low, high))
    return jnp.clip((high + low) / 2 + (high - low) / 2 * action, low, high)
