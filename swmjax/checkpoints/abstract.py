"""A model's structure without its arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from swmjax.models.probes import attach_probe

Shardings = jax.sharding.Sharding | Callable[[str, tuple[int, ...]], jax.sharding.Sharding] | None
"""Where arrays go: all alike, by dotted name and shape, or to the default device."""


def abstract_model(
    model: Callable[..., nnx.Module], config: Any, probes: Mapping[str, nnx.Module] | None = None
) -> nnx.Module:
    """The model of a configuration with shapes in place of arrays; random weights are never drawn.

    Args:
        model: the model's class, built as `model(config, rngs=...)`.
        config: its configuration.
        probes: probes to attach, by key.
    """

    def make() -> nnx.Module:
        made = model(config, rngs=nnx.Rngs(0))
        for key, probe in (probes or {}).items():
            made = attach_probe(made, key, probe)
        return made

    return nnx.eval_shape(make)


def place(shardings: Shardings, name: str, shape: tuple[int, ...]) -> jax.sharding.Sharding:
    """Where one array goes."""
    if shardings is None:
        return jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return shardings if isinstance(shardings, jax.sharding.Sharding) else shardings(name, shape)
