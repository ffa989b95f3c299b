"""From Brax' parameters to those of an `Actor`."""

from typing import Any

from jaxtyping import Array


def dense_layers(parameters: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Kernels and biases of Brax' policy network, from the first layer to the last."""
    layers = parameters["params"]
    named = [layers[f"hidden_{i}"] for i in range(len(layers))]
    return tuple(layer["kernel"] for layer in named), tuple(layer["bias"] for layer in named)
