"""Configurations of models as JSON and back; the classes are looked up, nothing is imported by name."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from envs_mjx.checks import UserError
from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.own_models import class_path
from swmjax.checkpoints.torch import families
from swmjax.checkpoints.torch.node import MAX_DEPTH, MAX_SIZE

_PREFIX = "swmjax.models."
_TARGET = "_target_"
_DEPTHS = {"depth", "depths", "num_hidden_layers", "num_q"}
"""Fields that say how often something is repeated; each unit is built one by one."""


def to_json(value: Any, place: str = "config") -> Any:
    """A configuration as JSON: objects with their class under `_target_`, lists for tuples.

    Args:
        value: a dataclass of plain values and of further dataclasses.
        place: what it is, for messages.

    Raises:
        UserError: a value that JSON has no form for; names the place.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _PREFIX + type(value).__name__
        target = name if _known().get(name) is type(value) else class_path(type(value))
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {_TARGET: target} | {name: to_json(getattr(value, name), f"{place}.{name}") for name in fields}
    if isinstance(value, Mapping) and all(isinstance(name, str) and name != _TARGET for name in value):
        return {name: to_json(item, f"{place}.{name}") for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.integer | np.floating | np.bool_):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(
        f"{place}: is a {type(value).__name__}; allowed are numbers, texts, null, tuples, mappings and dataclasses"
    )


def from_json(value: Any, place: str = "model", own: type | None = None) -> Any:
    """The configuration that `to_json` made this of.

    Args:
        value: JSON.
        place: where it lies, for messages.
        own: the class of a configuration that is none of `swmjax.models`; it and the classes that its annotations
            mention are known by the last part of their names, and check what they are given themselves.

    Raises:
        CheckpointError: an unknown class or field, or a value out of range; names the place.
    """
    return _decoded(value, place, {} if own is None else {kind.__name__: kind for kind in _parts((own,))})


def _decoded(value: Any, place: str, own: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(item, f"{place}[{i}]", own) for i, item in enumerate(value))
    if not isinstance(value, Mapping):
        return value
    if own and _TARGET not in value:
        return {name: _decoded(item, f"{place}.{name}", own) for name, item in value.items()}
    target = value.get(_TARGET)
    kind = None
    if isinstance(target, str):
        kind = own.get(target.rpartition(".")[2]) or _known().get(target)
    if kind is None:
        allowed = ", ".join([*own, *_known()])
        raise CheckpointError(f"{place}.{_TARGET}: {shown(target)} is not known; allowed are {allowed}")
    known = [field.name for field in dataclasses.fields(kind) if field.init]
    given = {name: _decoded(item, f"{place}.{name}", own) for name, item in value.items() if name != _TARGET}
    if unknown := sorted(set(given) - set(known)):
        raise CheckpointError(
            f"{place}.{shown(unknown[0])[1:-1]}: is not a known field; allowed are {', '.join(known)}"
        )
    hints = _hints(kind)
    for name, item in given.items():
        if kind in own.values():
            given[name] = list(item) if isinstance(item, tuple) and _may_be_list(hints.get(name)) else item
        else:
            _check(item, hints[name], f"{place}.{name}", MAX_DEPTH if name in _DEPTHS else MAX_SIZE)
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{place}: {' '.join(str(error).split())}") from None


def override(raw: Mapping[str, Any], extra_args: Mapping[str, Any] | None, *, drop: bool = False) -> dict[str, Any]:
    """A configuration with some of its values replaced.

    Args:
        raw: the JSON object; it stays as it is.
        extra_args: values by dotted key, for example `{"encoder.size": "small"}`; objects on the way are made.
        drop: take the keys away instead.

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
        if drop:
            place.pop(last, None)
        else:
            place[last] = value
    return result


def _known() -> dict[str, type]:
    """The classes of configurations by their names in a file."""
    return _with_parts(tuple(family.config for family in families.FAMILIES))


@functools.cache
def _with_parts(configs: tuple[type, ...]) -> dict[str, type]:
    found: dict[str, type] = {}
    for kind in _parts(configs):
        found.setdefault(_PREFIX + kind.__name__, kind)
    return found


def _parts(configs: tuple[type, ...]) -> list[type]:
    """Configurations, and those that the annotations of their fields mention."""
    found = list(configs)
    for kind in found:
        inside = [part for hint in _hints(kind).values() for part in _dataclasses_in(hint)]
        found += [part for part in dict.fromkeys(inside) if part not in found]
    return found


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except NameError:  # a class inside a function, whose annotations name what only that knows
        return {}


def _may_be_list(hint: Any) -> bool:
    return (get_origin(hint) or hint) is list or any(map(_may_be_list, get_args(hint)))


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
