"""Environment ids and how to build them; classes are imported on first use."""

import contextlib
import dataclasses
import importlib
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from envs_mjx.checks import UserError, check_name, needs_extra
from envs_mjx.core import Env


@dataclass(frozen=True)
class Spec:
    """One registered environment.

    Attributes:
        id: the environment's name, `namespace/Name-vN`.
        entry_point: `module:Class` of an `Env`.
        discrete: whether its actions are discrete.
        extra: the extra of this package that the environment needs beside the base install; None for none.
        kwargs: default constructor arguments.
    """

    id: str
    entry_point: str
    discrete: bool = False
    extra: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


_SPECS: dict[str, Spec] = {}


def register(id: str, entry_point: str, *, discrete: bool = False, extra: str | None = None, **kwargs: Any) -> None:
    """Add an environment to this registry and to Gymnasium's; nothing is imported yet.

    Args:
        id: the environment's name, `namespace/Name-vN`.
        entry_point: `module:Class` of an `Env`.
        discrete: whether its actions are discrete.
        extra: the extra of this package that the environment needs beside the base install.
        **kwargs: default constructor arguments.

    Raises:
        UserError: the id is taken, or the entry point is not `module:Class`.
    """
    if id in _SPECS:
        raise UserError(f"environment {id!r} is already registered (as {_SPECS[id].entry_point!r})")
    module, colon, name = entry_point.partition(":")
    if not (module and colon and name):
        raise UserError(f"entry point of {id!r} must read 'module:Class', not {entry_point!r}")
    _SPECS[id] = Spec(id=id, entry_point=entry_point, discrete=discrete, extra=extra, kwargs=dict(kwargs))
    # Where the reference is imported first, Gymnasium's entry of the same id stays the reference's.
    if id not in gymnasium.registry:
        gymnasium.register(
            id,
            entry_point="envs_mjx.gym_adapter:GymnasiumEnv",
            vector_entry_point="envs_mjx.gym_adapter:GymnasiumVectorEnv",
            kwargs={"env_id": id},
        )


def registered_ids() -> tuple[str, ...]:
    """All environment ids, sorted."""
    return tuple(sorted(_SPECS))


def full_id(name: str) -> str:
    """An environment id as users type it: `swm/` is added to a name without a namespace."""
    return name if "/" in name else f"swm/{name}"


def spec(id: str) -> Spec:
    """The registration of an id.

    Raises:
        UserError: unknown id; the message offers the nearest ones.
    """
    check_name("environment", id, _SPECS)
    return _SPECS[id]


def make(id: str, **kwargs: Any) -> Env:
    """Build an environment.

    Args:
        id: a registered name.
        **kwargs: constructor arguments; they win over the registered ones.

    Returns:
        A frozen, hashable environment.

    Raises:
        UserError: unknown id, or a bad constructor argument.
        MissingExtraError: the environment's extra is not installed; the message says how to install it.
    """
    found = spec(id)
    module, _, name = found.entry_point.partition(":")
    with contextlib.nullcontext() if found.extra is None else needs_extra(f"{id} needs", found.extra):
        env_class = getattr(importlib.import_module(module), name)
    allowed = [entry.name for entry in dataclasses.fields(env_class) if entry.init]
    for argument in kwargs:
        check_name(f"argument of {id}", argument, allowed)
    return env_class(**(found.kwargs | kwargs))
