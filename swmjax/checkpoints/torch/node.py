"""Reading one object of `config.json`: fields are asked for by name and range, and the rest is refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from swmjax.checkpoints.errors import CheckpointError, shown

MAX_SIZE = 2**16
"""Largest width or image side accepted; keeps a damaged file from asking for a model that cannot exist."""
MAX_DEPTH = 256
"""Largest number of layers accepted."""

_REQUIRED = object()
_HYDRA = {"_target_", "_partial_", "_recursive_", "_convert_"}


@dataclass
class Node:
    """A dict of the configuration, its place, and the fields that were asked for so far.

    A field that is null is as good as absent, unless null is among what it may be.
    """

    values: Mapping[str, Any]
    place: str
    known: set[str] = field(default_factory=set)

    def at(self, name: str) -> str:
        """The place of a field, for messages."""
        return f"{self.place}.{name}" if self.place else name

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """Any value."""
        self.known.add(name)
        value = self.values.get(name)
        if value is None:
            value = default
        if value is _REQUIRED:
            raise CheckpointError(f"{self.at(name)}: is {'null' if name in self.values else 'missing'}")
        return value

    def size(self, name: str, default: Any = _REQUIRED, limit: int = MAX_SIZE) -> int:
        """An integer from 1 to `limit`."""
        value = self.take(name, default)
        if type(value) is not int or not 1 <= value <= limit:
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is an integer from 1 to {limit}")
        return value

    def size_or(self, name: str, default: int) -> int:
        """A size that may be null or absent, as the reference's `output_dim=None`."""
        return default if self.take(name, None) is None else self.size(name)

    def number(self, name: str, default: Any = _REQUIRED) -> float:
        """A finite number."""
        value = self.take(name, default)
        if type(value) not in (int, float) or value - value != 0:
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is a finite number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.take(name, default)
        if type(value) is not bool:
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed are true and false")
        return value

    def choice(self, name: str, allowed: Mapping[str, Any], default: Any = _REQUIRED) -> Any:
        """What `allowed` has under a name."""
        value = self.take(name, default)
        if not isinstance(value, str) or value not in allowed:
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed are {', '.join(allowed)}")
        return allowed[value]

    def rates(self, *names: str) -> None:
        """Numbers that act only in training: checked, then dropped."""
        for name in names:
            value = self.take(name, 0.0)
            if type(value) not in (int, float) or not 0 <= value < 1:
                raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is a number in [0, 1)")

    def fixed(self, **values: Any) -> None:
        """Settings of which swmjax implements one value only."""
        for name, allowed in values.items():
            value = self.take(name, allowed)
            if type(value) is not type(allowed) or value != allowed:
                raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is {shown(allowed)}")

    def object(self, name: str) -> Node:
        """A nested object without a target of its own."""
        value = self.take(name)
        if not isinstance(value, dict):
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is an object")
        return Node(value, self.at(name))

    def child(self, name: str, targets: Targets) -> Any:
        """What a nested object with a `_target_` builds."""
        value = self.take(name)
        if not isinstance(value, dict):
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is an object with a _target_")
        return build(Node(value, self.at(name)), targets)

    def child_or_none(self, name: str, targets: Targets) -> Any:
        """As `child`, where null and absent mean None."""
        return None if self.take(name, None) is None else self.child(name, targets)

    def refuse_the_rest(self) -> None:
        """Raise CheckpointError if there is a field that was not asked for and is not null."""
        given = {name for name, value in self.values.items() if value is not None}
        for name in sorted(given - self.known - _HYDRA):
            near = difflib.get_close_matches(name, self.known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; allowed are {', '.join(sorted(self.known - _HYDRA))}"
            raise CheckpointError(f"{self.at(shown(name).strip(chr(39)))}: is not a known field{hint}")


Targets: TypeAlias = Mapping[str, Callable[[Node], Any]]
"""What each `_target_` builds from its node."""


def build(node: Node, targets: Targets) -> Any:
    """Build what the node's `_target_` says; every field must be used.

    Raises:
        CheckpointError: an unknown target or field, a missing field, or a value out of range; names the key.
    """
    target = node.take("_target_")
    if not isinstance(target, str) or target not in targets:
        near = difflib.get_close_matches(str(target), targets, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise CheckpointError(
            f"{node.at('_target_')}: {shown(target)} is not known; allowed are {', '.join(targets)}{hint}"
        )
    try:
        built = targets[target](node)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{node.place or target}: {error}") from None
    node.refuse_the_rest()
    return built
