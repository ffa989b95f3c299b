"""What a family of models brings along so that its checkpoints can be read, written and compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx

from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import Node, Targets

CANDIDATES, HORIZON = 2, 3
"""Sequences of actions, and actions of each, in a comparison with the reference."""


@dataclass(frozen=True)
class Settings:
    """Settings of a training script, which it saved in the place of the model's configuration.

    Attributes:
        are_in: whether a `config.json` without a `_target_` holds them.
        read: makes the configuration of the model that the script builds from them.
    """

    are_in: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Node], Any]


@dataclass(frozen=True)
class Family:
    """One family of models: everything that is known of its checkpoints.

    Attributes:
        model: the model's class, built as `model(config, rngs=...)`.
        config: the class of its configurations.
        targets: every `_target_` of a whole model, with what makes its configuration.
        rules: from a configuration to the names of the tensors in its files.
        describe: from a configuration to a `config.json` that the reference builds the model from.
        example: makes the configuration of a small model.
        inputs: inputs of a forward pass, by name, for a model of that configuration.
        outputs: from a model and such inputs to what it is compared by.
        reference: the same in the reference: a program that finds `model`, and tensors by name in `given`, and puts
            what is asked for in `wanted` into `out`; see `reference_program` for what else it finds.
        buffers: from a configuration to the tensors of its files that follow from it, by name, such as masks.
        complete: what a configuration leaves open, as the names of a file's tensors tell.
        settings: what its training scripts save instead of a configuration.
        backbone: the part of a configuration that the reference would load from the hub, if there is one.
    """

    model: Callable[..., nnx.Module]
    config: type
    targets: Targets
    rules: Callable[[Any], KeyRules]
    describe: Callable[[Any], dict[str, Any]]
    example: Callable[[], Any]
    inputs: Callable[[Any, np.random.Generator], dict[str, np.ndarray]]
    outputs: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    reference: str
    buffers: Callable[[Any], Mapping[str, np.ndarray]] = lambda config: {}
    complete: Callable[[Any, Collection[str]], Any] = lambda config, names: config
    settings: Settings | None = None
    backbone: Callable[[Any], Any] = lambda config: None


def normal(draw: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers, float32."""
    return draw.normal(size=shape).astype(np.float32)
