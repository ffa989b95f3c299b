"""Weights that are no numbers: a model with them cannot plan, so that loading names and refuses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from swmjax.checkpoints.errors import CheckpointError, shown

_NAMED = 10


def count_nonfinite(array: Any) -> int:
    """How many entries of an array are NaN or infinite; of a JAX array those that this process holds."""
    if isinstance(array, np.ndarray):
        return int(array.size - np.count_nonzero(np.isfinite(array)))
    return sum(count_nonfinite(np.asarray(part.data)) for part in array.addressable_shards if part.replica_id == 0)


def check_finite(counts: Iterable[tuple[str, int, int]], allowed: bool, note: Callable[[str], None]) -> None:
    """Refuse tensors that are not finite, or name them.

    Args:
        counts: for every tensor its name, how many of its entries are not finite, and how many it has.
        allowed: name them only.
        note: told which ones, if they are allowed.

    Raises:
        CheckpointError: one of them is not finite and that is not allowed.
    """
    bad = [f"{shown(name, 200)[1:-1]} ({count} of {size})" for name, count, size in counts if count]
    if not bad:
        return
    names = ", ".join(bad[:_NAMED]) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
    problem = f"{len(bad)} of its tensors have entries that are NaN or infinite: {names}; such a model cannot plan"
    if not allowed:
        raise CheckpointError(f"{problem}; --allow-nonfinite (in Python allow_nonfinite=True) takes them as they are")
    note(problem)
