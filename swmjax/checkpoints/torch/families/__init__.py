"""The `_target_` strings of `config.json` that swmjax knows, and what each one is configured by.

Targets are looked up here; nothing is imported by name. Every family of models has its file with a `FAMILY`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch.families import gcrl, lewm, pldm, prejepa, tdmpc2
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.node import Node, Targets, build
from swmjax.models.gcrl.gcrl import GCRLConfig

FAMILIES: tuple[Family, ...] = (lewm.FAMILY, pldm.FAMILY, prejepa.FAMILY, tdmpc2.FAMILY, gcrl.FAMILY, gcrl.TRAINED)
_SETTINGS = ((gcrl.is_training, gcrl.from_training), (tdmpc2.is_cfg, tdmpc2.from_cfg))
"""Settings of training scripts that were saved instead of the model's, and what reads them."""
_MODELS: Targets = {target: make for family in FAMILIES for target, make in family.targets.items()}


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
    if "_target_" in config:
        return build(Node(config, ""), _MODELS)
    if isinstance(config.get("model"), dict):
        return build(Node(config["model"], "model"), _MODELS)
    for is_form, make in _SETTINGS:
        if is_form(config):
            return build(Node({**config, "_target_": "settings"}, ""), {"settings": make})
    raise CheckpointError(
        f"_target_: is missing; allowed are {', '.join(_MODELS)}, or the settings of a training script with "
        "such a _target_ under 'model'"
    )


def complete(config: Any, names: Collection[str]) -> Any:
    """A configuration with what it leaves open, as the names of a file's tensors tell."""
    return gcrl.complete(config, names) if isinstance(config, GCRLConfig) else config


def family_of(config: Any) -> Family:
    """The family whose configuration this is; `build_config` makes no others."""
    return next(family for family in FAMILIES if family.config is type(config))


def has_checkpoints(config: Any) -> bool:
    """Whether this is the configuration of a family that has torch checkpoints."""
    return any(family.config is type(config) for family in FAMILIES)


__all__ = ["Family", "build_config", "complete", "family_of", "has_checkpoints"]
