"""What the `config.json` of a saved model says about it: its configuration, its class and where it came from."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from flax import nnx
from omegaconf import OmegaConf

from envs_mjx.checks import UserError
from swmjax.checkpoints.codec import to_json
from swmjax.checkpoints.errors import CheckpointError, shown, warn
from swmjax.checkpoints.own_models import class_path
from swmjax.checkpoints.torch.families import build_config, family_of
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.matching import tensor_specs
from swmjax.checkpoints.torch.source import Loaded, Source

_RESOLVER = re.compile(r"\$\{[^{}]*:")


@dataclass(frozen=True)
class About:
    """What is written.

    Attributes:
        config: the configuration as JSON; None if there is none.
        source: where the model came from.
        own: the name of a class that is none of `swmjax.models`; None for those.
        kind: of its configuration; None if there is none.
    """

    config: Any
    source: Mapping[str, Any]
    own: str | None = None
    kind: Literal["dataclass", "mapping"] | None = None


def picked(config: Any, key: str | None) -> Any:
    """A part of a configuration, or the whole where there is no such part; a mapping as plain values.

    Raises:
        UserError: a mapping that asks for the environment or for anything else that a resolver makes.
    """
    if key is not None and isinstance(config, Mapping) and key in config:
        config = config[key]
    elif key is not None and dataclasses.is_dataclass(config):
        config = getattr(config, key, config)
    if not OmegaConf.is_config(config):
        return config
    if any("${" in text for text in _texts(OmegaConf.to_container(config))):
        # A reference may lead anywhere in the tree that this is a part of.
        for text in _texts(OmegaConf.to_container(config._get_root())):
            if _RESOLVER.search(text):
                raise UserError(f"config: {shown(text)} is never evaluated; give the value itself")
    return OmegaConf.to_container(config, resolve=True)


def describe(loaded: Loaded, config: Any) -> About:
    """What is written about a model.

    Args:
        loaded: the model and where it came from.
        config: the configuration that was given with it, or None.

    Raises:
        UserError: the configuration is not the model's, or cannot be written.
    """
    model, source = loaded.model, loaded.source
    had = getattr(model, "config", None)
    family = family_of(had)
    if family is not None and type(model) is family.model:
        if isinstance(config, Mapping):
            source = replace(source, config=_reference(config, model, family))
        elif config is not None and config != had:
            raise UserError(f"config: is not the configuration of this {type(model).__name__}; leave it out")
        return About(to_json(had), _origin(source))
    if config is not None and dataclasses.is_dataclass(had) and config != had:
        raise UserError(f"config: is not the one that this {type(model).__name__} has; leave it out")
    chosen = had if config is None else config
    own = class_path(type(model))
    if chosen is None:
        warn(
            f"a {type(model).__name__} has no `config` and none was given: its weights alone are saved, and "
            "load_pretrained needs model_class to load them, built as model_class(rngs=...)"
        )
        return About(None, _origin(source), own)
    if dataclasses.is_dataclass(chosen) and not isinstance(chosen, type):
        return About(to_json(chosen), _origin(source), own, "dataclass")
    if isinstance(chosen, Mapping):
        try:
            return About(json.loads(json.dumps(dict(chosen))), _origin(source), own, "mapping")
        except TypeError as error:
            raise UserError(f"config: {error}; allowed in a mapping is what JSON can hold") from None
    raise UserError(f"config: is a {type(chosen).__name__}; allowed is a dataclass or a mapping")


def _reference(config: Mapping[str, Any], model: nnx.Module, family: Family) -> dict[str, Any] | None:
    """The reference's configuration of a model, as an export writes it; None if the reference cannot load it."""
    try:
        built = build_config(config)
    except CheckpointError as error:
        raise UserError(f"config: {error}") from None
    had: Any = model.config  # type: ignore[attr-defined]
    had = replace(had, remat=False) if hasattr(had, "remat") else had
    names = tensor_specs(dict(nnx.to_flat_state(nnx.state(model))))
    if type(had) is not family.config or family.complete(built, names) != had:
        raise UserError(f"config: describes another model than this {type(model).__name__}; leave it out")
    described = config if "_target_" in config else config.get("model")
    return dict(described) if isinstance(described, Mapping) and built == had else None


def _origin(source: Source) -> dict[str, Any]:
    """What is kept of where a model came from; what was set in its configuration only if something was."""
    return {name: value for name, value in vars(source).items() if name != "settings" or value}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)
