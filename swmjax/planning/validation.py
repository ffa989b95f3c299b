"""Checks of hyperparameters, each with a message that names field, value and what is allowed."""

import math
from collections.abc import Sequence


def check_integer(name: str, value: object, lowest: int, highest: int | None = None, limit: str = "") -> None:
    """Raise unless the value is an integer in range.

    Args:
        name: "Class.field", for the message.
        value: What was given.
        lowest: Smallest allowed value.
        highest: Largest allowed value, if there is one.
        limit: Name of the field that sets `highest`.

    Raises:
        ValueError: The value is not an integer, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, got {value}")
    if highest is not None and value > highest:
        raise ValueError(f"{name} must be at most {limit} ({highest}), got {value}")


def check_nonnegative(name: str, value: object) -> None:
    """Raise unless the value is a finite number of at least 0.

    Args:
        name: "Class.field", for the message.
        value: What was given.

    Raises:
        ValueError: The value is not such a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise unless the value is one of a few words.

    Args:
        name: "Class.field", for the message.
        value: What was given.
        allowed: The words.

    Raises:
        ValueError: The value is none of them.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
