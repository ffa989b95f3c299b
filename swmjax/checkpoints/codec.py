"""Configurations of models as JSON and back; the classes are looked up, nothing is imported by name."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from envs_mjx.checks import UserError
from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.torch import families
from swmjax.checkpoints.torch.node import MAX_DEPTH, MAX_SIZE

_PREFIX = "swmjax.models."
_DEPTHS = {"depth", "depths", "num_hidden_layers", "num_q"}
"""Fields that say how often something is repeated; each unit is built one by one."""


def to_json(value: Any) -> Any:
    """A configuration as JSON: objects with their class under `_target_`, lists for tuples.

    Args:
        value: a configuration of `swmjax.models`, or a part of one.

    Raises:
        UserError: a class that is none of `swmjax.models`' configurations.
    """
    if dataclasses.is_dataclass(value):
        target = _PREFIX + type(value).__name__
        if _known().get(target) is not type(value):
            raise UserError(f"a {type(value).__name__} cannot be saved; allowed are {', '.join(_known())}")
        return {"_target_": target} | {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [to_json(item) for item in value] if isinstance(value, tuple) else value


def from_json(value: Any, place: str = "model") -> Any:
    """The configuration that `to_json` made this of.

    Args:
        value: JSON.
        place: where it lies, for messages.

    Raises:
        CheckpointError: an unknown class or field, or a value out of range; names the place.
    """
    if isinstance(value, list):
        return tuple(from_json(item, f"{place}[{i}]") for i, item in enumerate(value))
    if not isinstance(value, Mapping):
        return value
    target = value.get("_target_")
    kind = _known().get(target) if isinstance(target, str) else None
    if kind is None:
        raise CheckpointError(f"{place}._target_: {shown(target)} is not known; allowed are {', '.join(_known())}")
    known = [field.name for field in dataclasses.fields(kind)]
    given = {name: from_json(item, f"{place}.{name}") for name, item in value.items() if name != "_target_"}
    if unknown := sorted(set(given) - set(known)):
        raise CheckpointError(
            f"{place}.{shown(unknown[0])[1:-1]}: is not a known field; allowed are {', '.join(known)}"
        )
    hints = get_type_hints(kind)
    for name, item in given.items():
        _check(item, hints[name], f"{place}.{name}", MAX_DEPTH if name in _DEPTHS else MAX_SIZE)
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{place}: {' '.join(str(error).split())}") from None


def override(raw: Mapping[str, Any], extra_args: Mapping[str, Any] | None) -> dict[str, Any]:
    """A configuration with some of its values replaced.

    Args:
        raw: the JSON object; it stays as it is.
        extra_args: values by dotted key, for example `{"encoder.size": "small"}`; objects on the way are made.

    Raises:
        CheckpointError: a key that leads through something that is no object.

    Source: reference, `wm/utils.py`.
    """
    result = dict(raw)
    for key, value in (extra_args or {}).items():
        *owners, last = key.split(".")
        place = result
        for i, owner in enumerate(owners):
            inner = place.get(owner, {})
            if not isinstance(inner, dict):
                at = ".".join(owners[: i + 1])
                raise CheckpointError(f"{at}: is {shown(inner)}, so that {shown(key)} cannot be set in it")
            place[owner] = dict(inner)
            place = place[owner]
        place[last] = value
    return result


def _known() -> dict[str, type]:
    """The classes of configurations by their names in a file."""
    return _with_parts(tuple(family.config for family in families.FAMILIES))


@functools.cache
def _with_parts(configs: tuple[type, ...]) -> dict[str, type]:
    """Configurations, and those that the annotations of their fields mention."""
    found: dict[str, type] = {}
    waiting = list(configs)
    for kind in waiting:
        if found.setdefault(_PREFIX + kind.__name__, kind) is kind:
            waiting += [part for hint in get_type_hints(kind).values() for part in _dataclasses_in(hint)]
    return found


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(hint):
        yield hint  # type: ignore[misc]
    for inner in get_args(hint):
        yield from _dataclasses_in(inner)


def _check(value: Any, hint: Any, place: str, limit: int) -> None:
    """CheckpointError unless a value is of the annotated kind, and no whole number in it is above the limit."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        fitting = [kind for kind in inner if _is_a(value, kind)]
        if not fitting:
            _refuse(value, hint, place)
        hint, origin, inner = fitting[0], get_origin(fitting[0]), get_args(fitting[0])
    if not _is_a(value, hint):
        _refuse(value, hint, place)
    if type(value) is int and value > limit:
        raise CheckpointError(f"{place}: is {value}; allowed are numbers up to {limit}")
    if origin is tuple:
        if inner[-1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) != len(value):
            raise CheckpointError(f"{place}: has {len(value)} entries; allowed are {len(inner)}")
        for i, (item, kind) in enumerate(zip(value, inner, strict=True)):
            _check(item, kind, f"{place}[{i}]", limit)


def _is_a(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if hint is float:
        return type(value) in (int, float) and value - value == 0
    return type(value) is (origin or hint)


def _refuse(value: Any, hint: Any, place: str) -> None:
    wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    raise CheckpointError(f"{place}: is {shown(value)}; allowed is {wanted}")
