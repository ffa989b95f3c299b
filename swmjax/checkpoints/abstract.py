"""A model's structure without its arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from swmjax.models.probes import attach_probe

Shardings = jax.sharding.Sharding | Callable[[str, tuple[int, ...]], jax.sharding.Sharding] | None
"""Where arrays go: all alike, by dotted name and shape, or to the default device."""


class _OneKey(nnx.Rngs):
    """Gives every layer the same key: what it draws is never looked at, and counting keys takes most of the time."""

    def __init__(self, key: jax.Array):
        self._key = key

    def __getattr__(self, name: str) -> _OneKey:
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def __call__(self) -> jax.Array:
        return self._key


def abstract_model(
    model: Callable[..., nnx.Module], config: Any, probes: Mapping[str, nnx.Module] | None = None
) -> nnx.Module:
    """The model of a configuration with shapes in place of arrays; random weights are never drawn.

    Args:
        model: the model's class, built as `model(config, rngs=...)`.
        config: its configuration.
        probes: probes to attach, by key.
    """
    return abstract(lambda: model(config, rngs=_OneKey(jax.random.key(0))), probes)


def abstract(make: Callable[[], nnx.Module], probes: Mapping[str, nnx.Module] | None = None) -> nnx.Module:
    """As `abstract_model`, of any function that makes a model."""

    def made() -> nnx.Module:
        model = make()
        for key, probe in (probes or {}).items():
            model = attach_probe(model, key, probe)
        return model

    return nnx.eval_shape(made)


def place(shardings: Shardings, name: str, shape: tuple[int, ...]) -> jax.sharding.Sharding:
    """Where one array goes."""
    if shardings is None:
        return jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return shardings if isinstance(shardings, jax.sharding.Sharding) else shardings(name, shape)
