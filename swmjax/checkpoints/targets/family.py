"""What a family of models brings along so that its checkpoints can be loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flax import nnx

from swmjax.checkpoints.key_maps import KeyRules
from swmjax.checkpoints.targets.node import Targets


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        targets: every `_target_` of a whole model, with what makes its configuration.
        config: the configuration's class.
        model: the model's class, built as `model(config, rngs=...)`.
        rules: from a configuration to the names of the tensors in its files.
    """

    targets: Targets
    config: type
    model: Callable[..., nnx.Module]
    rules: Callable[[Any], KeyRules]
