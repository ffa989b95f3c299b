"""What a family of models brings along so that its checkpoints can be loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx

from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import Targets


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        targets: every `_target_` of a whole model, with what makes its configuration.
        config: the configuration's class.
        model: the model's class, built as `model(config, rngs=...)`.
        rules: from a configuration to the names of the tensors in its files.
        describe: from a configuration to a `config.json` that the reference builds the model from.
        buffers: from a configuration to the tensors of its files that follow from it, by name, such as masks.
    """

    targets: Targets
    config: type
    model: Callable[..., nnx.Module]
    rules: Callable[[Any], KeyRules]
    describe: Callable[[Any], dict[str, Any]]
    buffers: Callable[[Any], Mapping[str, np.ndarray]] = lambda _: {}


def block_causal(frames: int, patches: int) -> np.ndarray:
    """Mask [1, 1, frames * patches, frames * patches] of tokens that attend to all of their frame and of those before.

    Args:
        frames: Frames of the window.
        patches: Tokens of a frame.
    """
    frame = np.arange(frames * patches) // patches
    return (frame[:, None] >= frame[None])[None, None]
