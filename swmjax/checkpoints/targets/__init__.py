"""The `_target_` strings of `config.json` that swmjax knows, and what each one is configured by.

Targets are looked up here; nothing is imported by name. Every family of models has its file with a `FAMILY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.targets import lewm, pldm, prejepa, tdmpc2
from swmjax.checkpoints.targets.family import Family
from swmjax.checkpoints.targets.node import Node, Targets, build

_FAMILIES: tuple[Family, ...] = (lewm.FAMILY, pldm.FAMILY, prejepa.FAMILY, tdmpc2.FAMILY)
_MODELS: Targets = {target: make for family in _FAMILIES for target, make in family.targets.items()}


def build_config(config: Mapping[str, Any]) -> Any:
    """Turn the content of `config.json` into the hyperparameters of the model it describes.

    Args:
        config: the JSON object.

    Returns:
        The configuration of a model that `swmjax.models` has, for example a `LeWMConfig`.

    Raises:
        CheckpointError: an unknown target or field, a missing field, or a value out of range; names the key.

    Source: reference, `config/train/model/*.yaml` and the constructors these files name.
    """
    if "_target_" not in config:
        nested = isinstance(config.get("model"), dict)
        hint = "; this looks like a training configuration: its part under 'model' is what is needed" if nested else ""
        raise CheckpointError(f"_target_: is missing; allowed are {', '.join(_MODELS)}{hint}")
    return build(Node(config, ""), _MODELS)


def family_of(config: Any) -> Family:
    """The family whose configuration this is; `build_config` makes no others."""
    return next(family for family in _FAMILIES if family.config is type(config))


__all__ = ["Family", "build_config", "family_of"]
