"""Nested mappings by path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def flatten_dict(nested: Mapping[str, Any], parent_key: str = "", sep: str = ".") -> dict[str, Any]:
    """A mapping of mappings as one, with the keys of the way joined; of equal ones the last stays.

    Args:
        nested: The mapping.
        parent_key: Stands before all keys.
        sep: Stands between two.

    Source: reference, `utils.py`.
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{parent_key}{sep}{key}" if parent_key else str(key)
        flat |= flatten_dict(value, name, sep) if isinstance(value, Mapping) else {name: value}
    return flat


def get_in(mapping: Any, path: Iterable[Any]) -> Any:
    """What lies at the end of a path of keys; the mapping itself if there are none.

    Raises:
        KeyError: A key is not there.

    Source: reference, `utils.py`.
    """
    for key in path:
        mapping = mapping[key]
    return mapping
