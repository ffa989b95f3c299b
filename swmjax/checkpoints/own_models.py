"""Models of users: their checkpoints name a class as text, and load only into a class that was given here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from flax import nnx

from envs_mjx import plugins
from envs_mjx.checks import UserError

M = TypeVar("M", bound=Callable[..., nnx.Module])


@dataclass(frozen=True)
class OwnModel:
    """A class of models that are none of `swmjax.models`, and that of their configurations.

    Attributes:
        model: built as `model(config, rngs=...)`; from a checkpoint without a configuration as `model(rngs=...)`.
        config: a dataclass; None for a configuration that is a mapping, or where there is none.
    """

    model: Callable[..., nnx.Module]
    config: type | None

    @classmethod
    def of(cls, model: Callable[..., nnx.Module], config: type | None) -> OwnModel:
        """With the configuration that the constructor's annotation of `config` names, unless one is given."""
        if config is not None and not (isinstance(config, type) and dataclasses.is_dataclass(config)):
            raise UserError(f"config_class: is {config!r}; allowed is a dataclass")
        return cls(model, config or _annotated(model))


_REGISTERED: dict[str, OwnModel] = {}


def register_model(model: M, config: type | None = None) -> M:
    """Let `load_pretrained` build a model of one's own by the name that its checkpoints have; also a decorator.

    Args:
        model: its class, built as `model(config, rngs=...)`.
        config: the dataclass of its configuration; None for what the constructor says that `config` is.

    Returns:
        The class.

    Raises:
        UserError: the configuration is no dataclass.
    """
    _REGISTERED[class_path(model)] = OwnModel.of(model, config)
    return model


def registered(path: str | None) -> OwnModel | None:
    """The registered model of a name in a checkpoint, if there is one; installed packages may have registered it."""
    if path is not None and path not in _REGISTERED:
        plugins.load()
    return None if path is None else _REGISTERED.get(path)


def class_path(kind: Any) -> str:
    """The name that a checkpoint has for a class: its module and its name in there."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _annotated(model: Callable[..., nnx.Module]) -> type | None:
    made_by: Any = model
    try:
        kind = get_type_hints(made_by.__init__ if isinstance(model, type) else made_by).get("config")
    except (NameError, TypeError):  # names that only its function knows, or a partial
        return None
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None
