"""Where a file has the state dict: at its top level, or in an entry that a training loop made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.torch.pickle_subset import Foreign, not_allowed

ENTRIES = ("state_dict", "model_state_dict", "model", "module", "ema")
"""Entries of training checkpoints that may hold the state dict, or one another."""
_DEPTH = 4
"""How many of them may lie in one another; a file that refers to itself ends there."""


@dataclass(frozen=True)
class StateDict:
    """The state dict of a file, and the tensors beside it.

    Attributes:
        tensors: the state dict.
        entry: the dotted name of the entry that holds it; '' for the top level.
        others: the tensors of other entries, by dotted name; an optimiser's, for example.
    """

    tensors: Mapping[str, np.ndarray]
    entry: str = ""
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


def find_state_dict(top: Any, key: str | None = None) -> StateDict:
    """The state dict in the content of a file.

    Args:
        top: the content.
        key: the dotted name of the entry to look in; None for the whole file.

    Raises:
        CheckpointError: there is none, or there are several, or it holds anything but names and tensors.
    """
    place, value = ((), top) if key is None else _entry(top, key)
    found = dict(_candidates(value, place))
    if key is None and len(found) == 1:
        found |= dict(_twins(value, next(iter(found.values()))))
    if len(found) > 1:
        names = [".".join(candidate) for candidate in found]
        under = " and ".join(shown(name) for name in names)
        raise CheckpointError(
            f"{len(found)} state dicts, under {under}; choose one with --key {names[0]} (in Python key={names[0]!r})"
        )
    if not found:
        while isinstance(value, dict) and (inside := [name for name in ENTRIES if isinstance(value.get(name), dict)]):
            place, value = (*place, inside[0]), value[inside[0]]
            if len(place) > _DEPTH:
                break
        _refuse_unless_tensors(value, place)
        found = {place: value}
    ((place, tensors),) = found.items()
    return StateDict(tensors, ".".join(place), dict(_others(top, tensors)))


def _entry(top: Any, key: str) -> tuple[tuple[str, ...], Any]:
    """The entry of a dotted name, and the names that lead to it."""
    if isinstance(top, dict) and key in top:
        return (key,), top[key]
    place, value = tuple(key.split(".")), top
    for i, name in enumerate(place):
        if not isinstance(value, dict) or name not in value:
            at = f"in entry {shown('.'.join(place[:i]))}" if i else "at the top level"
            raise CheckpointError(f"no entry {shown(name)} {at}{_hint(value)}")
        value = value[name]
    return place, value


def _candidates(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, np.ndarray]]]:
    if not isinstance(value, dict) or len(place) > _DEPTH:
        return
    if value and all(isinstance(name, str) and isinstance(item, np.ndarray) for name, item in value.items()):
        yield place, value
        return
    for name in ENTRIES:
        yield from _candidates(value.get(name), (*place, name))


def _twins(value: Any, tensors: Mapping[str, np.ndarray]) -> Iterator[tuple[tuple[str, ...], dict[str, np.ndarray]]]:
    """Entries under other names with tensors of the same names, such as those that a training loop averages."""
    for name, item in value.items() if isinstance(value, dict) else ():
        if isinstance(name, str) and isinstance(item, dict) and item is not tensors and set(item) == set(tensors):
            yield (name,), item


def _refuse_unless_tensors(value: Any, place: tuple[str, ...]) -> None:
    where = f"entry {shown('.'.join(place))}" if place else "the top level"
    if isinstance(value, Foreign):
        raise not_allowed(value)
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} is a {type(value).__name__}; allowed is a dict of names to tensors")
    for name, item in value.items():
        if isinstance(item, Foreign):
            raise not_allowed(item)
        if not isinstance(name, str) or not isinstance(item, np.ndarray):
            kind = "tensor" if isinstance(item, np.ndarray) else type(item).__name__
            raise CheckpointError(
                f"{where} holds a {kind} under {shown(name)}; allowed is a dict of names to tensors{_hint(value)}"
            )


def _hint(value: Any) -> str:
    """Where else the state dict may be, as the end of a message."""
    nested = [name for name, item in value.items() if isinstance(item, dict)] if isinstance(value, dict) else []
    named = ", ".join(shown(name) for name in nested[:5])
    return f"; the state dict may be under {named}: name it with --key (in Python key=)" if nested else ""


def _others(top: Any, tensors: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a file that are not in its state dict, each once."""
    seen = {id(array) for array in tensors.values()} | {id(tensors)}
    waiting: list[tuple[str, Any]] = [("", top)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        if isinstance(value, np.ndarray):
            seen.add(id(value))
            yield name, value
        elif isinstance(value, dict | list | tuple):
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inside = [(f"{name}.{key}" if name else str(key), item) for key, item in items]
            waiting += reversed(inside)
