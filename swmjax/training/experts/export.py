"""From what Brax has trained to an `Actor`."""

from typing import Any

from jaxtyping import Array

from swmjax.models.actor import Actor
from swmjax.training.experts.env import TrainingEnv


def exported(env: TrainingEnv, statistics: Any, policy: Any, activation: str) -> Actor:
    """The actor of a env.

    Args:
        task: What it has been trained on.
        statistics: Brax' running mean and deviation of the flat observations.
        policy: Parameters of Brax' policy network.
        activation: Between its layers.
    """
    kernels, biases = _dense_layers(policy)
    return Actor(
        mean=statistics.mean,
        std=statistics.std,
        kernels=kernels,
        biases=biases,
        low=env.low,
        high=env.high,
        observations=env.observations,
        activation=activation,
    )


def _dense_layers(policy: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Kernels and biases of the policy network, from the first layer to the last."""
    layers = policy["params"]
    named = [layers[f"hidden_{i}"] for i in range(len(layers))]
    return tuple(layer["kernel"] for layer in named), tuple(layer["bias"] for layer in named)
