"""Where a model came from: what is kept of a torch checkpoint, so that it can be written back as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.key_maps import KeyRules


@dataclass(frozen=True)
class Source:
    """What is kept of the torch checkpoint that a model came from.

    Attributes:
        config: its `config.json` if the reference can build a model from that, or None.
        transformers: the version of transformers that named its encoder's tensors; None if it has none.
    """

    config: Mapping[str, Any] | None = None
    transformers: Literal[4, 5] | None = None


@dataclass(frozen=True)
class Loaded:
    """A model, and where it came from."""

    model: Any
    source: Source


def source_of(raw: Mapping[str, Any], names: Iterable[str], rules: KeyRules) -> Source:
    """What to keep of a torch checkpoint.

    Args:
        raw: its `config.json`.
        names: the names of its tensors.
        rules: those of its family.
    """
    described = raw if "_target_" in raw else raw.get("model")
    # Settings of training scripts and classes of other repositories are not what the reference loads.
    known = isinstance(described, dict) and str(described.get("_target_")).startswith("stable_worldmodel.")
    versions = {rules.version_of(name) for name in names} - {None}
    version: Literal[4, 5] | None = 4 if 4 in versions else 5 if 5 in versions else None
    return Source(described if known else None, version)


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
