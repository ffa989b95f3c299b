"""Values in plain Python, as YAML, JSON and Parquet have a form for them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs_mjx.checks import UserError


def plain(value: Any, place: str, finite: bool = False) -> Any:
    """The value in dicts, lists and Python scalars.

    Args:
        value: nested mappings and sequences of text, paths, numbers and arrays.
        place: what it is, for the message.
        finite: whether NaN and infinities become None.

    Raises:
        UserError: something in it has no plain form; names the place.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{place}.{key}", finite) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{place}[{i}]", finite) for i, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy and JAX, arrays and scalars
        return plain(value.tolist(), place, finite)
    if isinstance(value, float) and finite and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(f"{place} is a {type(value).__name__}, it must be a number, text, a list or a mapping")


def one_line(value: object) -> str:
    """The text of an error of YAML, Arrow or the like on one line."""
    return " ".join(str(value).replace('in "<unicode string>", ', "at ").split())
