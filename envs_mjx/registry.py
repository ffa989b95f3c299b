"""Environment ids and how to build them; classes are imported on first use."""

import contextlib
import dataclasses
import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium

from envs_mjx import plugins
from envs_mjx.checks import UserError, check_name, needs_extra
from envs_mjx.names import unknown_name

if TYPE_CHECKING:
    import envs_mjx.core


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
_VERSION = re.compile(r"-v(\d+)$")


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
    """All environment ids, those of installed packages included, sorted."""
    plugins.load()
    return tuple(sorted(_SPECS))


def full_id(name: str) -> str:
    """The id that a name as users type it stands for; nothing is imported.

    `PushT` and `PushT-v1` are short for `swm/PushT-v1`: without a version the newest counts, and without a namespace
    `swm/` comes first. Elsewhere a short name must be the only one that begins so. Capitals count.

    Args:
        name: an id, or one without its namespace, its version or both; `module:` may stand before it.

    Returns:
        The id; where there is none of that name, the name with a namespace.

    Raises:
        UserError: the name is short for several ids, or of a module that has registered none of that name.
    """
    module, colon, short = _parts(name)
    if short not in _SPECS and not any(id.startswith("swm/") for id in _named(short)):
        plugins.load()
    found = _named(short)
    chosen = [id for id in found if id.startswith("swm/")]
    if found and not chosen and "/" not in short:
        chosen = [id for id in _SPECS if id.rpartition("/")[2].startswith(short)]
        if len({_VERSION.sub("", id) for id in chosen}) > 1:
            raise UserError(f"environment {name!r} may be {' or '.join(map(repr, sorted(chosen)))}; give the whole id")
    if found:
        return max(chosen or found, key=_version)
    if colon:
        raise UserError(
            f"no environment {short!r} of a module {module!r} is registered; "
            "a module is imported only for a name on the command line or in Python, not for one in a file"
        )
    return short if "/" in short else f"swm/{short}"


def import_named(name: str) -> str:
    """The id that a name stands for, after its module is imported if it has one: `module:Name-v0`, as in Gymnasium.

    For names that the user has given in this call or on this command line. Names from files go to `full_id`.

    Args:
        name: as for `full_id`.

    Returns:
        The id, and `module:` before it if the name has one, so that it means the same elsewhere.

    Raises:
        UserError: the module cannot be imported, or registers no such environment.
    """
    module, colon, short = _parts(name)
    if not colon:
        return full_id(name)
    plugins.import_module(module, f"environment {name!r}")
    id = full_id(short)
    if id not in _SPECS:
        raise UserError(f"module {module!r} is imported, but: {unknown_name('environment', id, _SPECS)}")
    return f"{module}:{id}"


def _parts(name: str) -> tuple[str, str, str]:
    """Module, colon and the rest of a name."""
    if not isinstance(name, str):
        raise UserError(f"an environment is named by its id, such as 'swm/PushT-v1', got {name!r}")
    return name.rpartition(":")


def _named(short: str) -> list[str]:
    """The ids that a name without a module may stand for."""
    return [id for id in _SPECS if short in _short_forms(id)]


def _short_forms(id: str) -> set[str]:
    """The id, and what it may be shortened to."""
    name = id.rpartition("/")[2]
    return {id, _VERSION.sub("", id), name, _VERSION.sub("", name)}


def _version(id: str) -> int:
    found = _VERSION.search(id)
    return -1 if found is None else int(found[1])


def spec(id: str) -> Spec:
    """The registration of an environment.

    Args:
        id: an id or a short form of it, as for `full_id`.

    Raises:
        UserError: unknown id; the message offers the nearest ones.
    """
    id = full_id(id)
    if id not in _SPECS:
        raise plugins.unknown("environment", id, _SPECS)
    return _SPECS[id]


def make(id: str, **kwargs: Any) -> "envs_mjx.core.Env":
    """Build an environment.

    Args:
        id: a registered id or a short form of it such as `PushT`; or `module:Name-v0`, which imports the module first.
        **kwargs: constructor arguments; they win over the registered ones.

    Returns:
        A frozen, hashable environment.

    Raises:
        UserError: unknown id, or a bad constructor argument.
        MissingExtraError: the environment's extra is not installed; the message says how to install it.
    """
    found = spec(import_named(id))
    module, _, name = found.entry_point.partition(":")
    with contextlib.nullcontext() if found.extra is None else needs_extra(f"{found.id} needs", found.extra):
        env_class = getattr(importlib.import_module(module), name)
    allowed = [entry.name for entry in dataclasses.fields(env_class) if entry.init]
    for argument in kwargs:
        check_name(f"argument of {found.id}", argument, allowed)
    return env_class(**(found.kwargs | kwargs))
