"""Where a model came from: what is kept of a torch checkpoint, so that it can be written back as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.torch.families import build_config
from swmjax.checkpoints.torch.family import Family


@dataclass(frozen=True)
class Source:
    """What is kept of the torch checkpoint that a model came from.

    Attributes:
        config: its `config.json` if the reference can build the model from that, or None.
        transformers: the version of transformers that named its encoder's tensors; None if it has none.
        dtype: the dtype of its parameters; None if the model came from elsewhere.
        other_dtypes: the parameters that have another one, by name.
    """

    config: Mapping[str, Any] | None = None
    transformers: Literal[4, 5] | None = None
    dtype: str | None = None
    other_dtypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """A model, and where it came from.

    Attributes:
        model: the model.
        source: what its file said beside the values.
        unused: tensors of the file that inference does not use and that do not follow from the configuration, by
            name; for example a decoder, or how many batches a BatchNorm has seen.
    """

    model: Any
    source: Source = Source()
    unused: Mapping[str, np.ndarray] = field(default_factory=dict)


def source_of(raw: Mapping[str, Any], config: Any, tensors: Mapping[str, np.ndarray], family: Family) -> Source:
    """What to keep of a torch checkpoint.

    Args:
        raw: its `config.json`.
        config: what that and the tensors say together.
        tensors: its tensors.
        family: the family of its model.
    """
    rules = family.rules(config)
    described = raw if "_target_" in raw else raw.get("model")
    # Settings of training scripts and classes of other repositories are not what the reference loads.
    known = isinstance(described, dict) and str(described.get("_target_")).startswith("stable_worldmodel.")
    if known and build_config(raw) != config:
        known = False
    versions = {rules.version_of(name) for name in tensors} - {None}
    version: Literal[4, 5] | None = 4 if 4 in versions else 5 if 5 in versions else None
    used = {rules.bare(name): array.dtype.name for name, array in tensors.items() if rules.canonical(name)}
    dtype = Counter(used.values()).most_common(1)[0][0]
    others = {name: kind for name, kind in used.items() if kind != dtype}
    return Source(described if known else None, version, dtype, others)


def unused_of(config: Any, tensors: Mapping[str, np.ndarray], family: Family) -> dict[str, np.ndarray]:
    """Copies of the tensors that inference does not use, without those that follow from the configuration."""
    rules, buffers = family.rules(config), family.buffers(config)
    kept = {}
    for name, array in tensors.items():
        bare = rules.bare(name)
        same = bare in buffers and buffers[bare].dtype == array.dtype and np.array_equal(buffers[bare], array)
        if rules.canonical(name) is None and not same:
            kept[bare] = np.array(array)
    return kept


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
