"""The families of models that have checkpoints, one a file; whoever adds one adds it here and nowhere else.

The `_target_` strings of a `config.json` are looked up in them; nothing is imported by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch.families import gcrl, lewm, pldm, prejepa, tdmpc2
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.node import Node, build

FAMILIES: tuple[Family, ...] = (lewm.FAMILY, pldm.FAMILY, prejepa.FAMILY, tdmpc2.FAMILY, gcrl.FAMILY)


def read_family(config: Mapping[str, Any]) -> tuple[Family, Any]:
    """The family of the model that the content of a `config.json` describes, and the model's configuration.

    Args:
        config: the JSON object.

    Raises:
        CheckpointError: an unknown target or field, a missing field, or a value out of range; names the key.
    """
    targets = {name: _with(family, make) for family in FAMILIES for name, make in family.targets.items()}
    if "_target_" in config:
        return build(Node(config, ""), targets)
    if isinstance(config.get("model"), dict):
        return build(Node(config["model"], "model"), targets)
    for family in FAMILIES:
        if family.settings is not None and family.settings.are_in(config):
            named = Node({**config, "_target_": "settings"}, "")
            return build(named, {"settings": _with(family, family.settings.read)})
    raise CheckpointError(
        f"_target_: is missing; allowed are {', '.join(targets)}, or the settings of a training script with "
        "such a _target_ under 'model'"
    )


def _with(family: Family, make: Callable[[Node], Any]) -> Callable[[Node], tuple[Family, Any]]:
    return lambda node: (family, make(node))


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
    return read_family(config)[1]


def named(found: Collection[Family]) -> str:
    """The names of families' models, for messages."""
    *others, last = [family.model.__name__ for family in found]
    return f"{', '.join(others)} and {last}"


def family_of(config: Any) -> Family | None:
    """The family whose configuration this is; None for a model that has no checkpoints."""
    return next((family for family in FAMILIES if family.config is type(config)), None)
