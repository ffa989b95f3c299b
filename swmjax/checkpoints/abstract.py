"""A model's structure without its arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from swmjax.checkpoints.torch.families import family_of
from swmjax.models.probes import attach_probe

Shardings = jax.sharding.Sharding | Callable[[str, tuple[int, ...]], jax.sharding.Sharding] | None
"""Where arrays go: all alike, by dotted name and shape, or to the default device."""


def abstract_model(config: Any, probes: Mapping[str, nnx.Module] | None = None) -> nnx.Module:
    """The model of a configuration with shapes in place of arrays; random weights are never drawn.

    Args:
        config: of a family that has checkpoints.
        probes: probes to attach, by key.
    """

    def make() -> nnx.Module:
        model = family_of(config).model(config, rngs=nnx.Rngs(0))
        for key, probe in (probes or {}).items():
            model = attach_probe(model, key, probe)
        return model

    return nnx.eval_shape(make)


def place(shardings: Shardings, name: str, shape: tuple[int, ...]) -> jax.sharding.Sharding:
    """Where one array goes."""
    if shardings is None:
        return jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return shardings if isinstance(shardings, jax.sharding.Sharding) else shardings(name, shape)
