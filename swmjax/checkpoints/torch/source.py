"""Where a model came from: what is kept of a torch checkpoint, so that it can be written back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Source:
    """What is kept of the torch checkpoint that a model came from.

    Attributes:
        config: its `config.json` if the reference can build the model from that, or None.
        transformers: the version of transformers that named its encoder's tensors; None if it has none.
        dtype: the dtype of its parameters; None if the model came from elsewhere.
        other_dtypes: the parameters that have another one, by name.
        settings: what was set in `config.json` when it was read, by dotted key.
    """

    config: Mapping[str, Any] | None = None
    transformers: Literal[4, 5] | None = None
    dtype: str | None = None
    other_dtypes: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


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
