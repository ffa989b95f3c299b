"""Checks of what users give, each with a message that names the place, the value and what is allowed.

Everything is checked once, where it is given, before anything is computed.
"""

import contextlib
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeGuard

from envs_mjx.names import unknown_name


class UserError(ValueError):
    """A mistake of the user: the message says what was given, where, and what is allowed.

    The command line prints it as one line and exits with code 2; anything else is a defect and keeps its traceback.
    """


class MissingExtraError(ImportError, UserError):
    """An optional package is not installed; the message says how to install it."""


@contextlib.contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Around the import of an optional package; around another such block, this one says who needs it.

    Args:
        what: Who needs it, with the verb, for the message: "datasets need".
        extra: The extra of this project that brings it.

    Raises:
        MissingExtraError: A module of the package is not installed.
    """
    try:
        yield
    except (ModuleNotFoundError, MissingExtraError) as error:
        missing = (error.name or extra).partition(".")[0]
        if missing == __package__:
            raise
        raise MissingExtraError(
            f"{what} {missing}, which is not installed: pip install 'swmjax[{extra}]'", name=missing
        ) from error


def check_integer(name: str, value: object, lowest: int, highest: int | None = None, limit: str = "") -> None:
    """Raise unless the value is an integer in range.

    Args:
        name: "Class.field", for the message.
        value: What was given.
        lowest: Smallest allowed value.
        highest: Largest allowed value, if there is one.
        limit: Name of the field that sets `highest`.

    Raises:
        UserError: The value is not an integer, or out of range.
    """
    if not is_integer(value):
        raise UserError(f"{name} must be an integer, got {value!r}")
    if value < lowest:
        raise UserError(f"{name} must be at least {lowest}, got {value}")
    if highest is not None and value > highest:
        raise UserError(f"{name} must be at most {limit} ({highest}), got {value}")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise unless the value of a setting is an integer of at least `least`.

    Args:
        name: Dotted name of the setting, for the message.
        value: What was given.
        least: Smallest allowed value.

    Raises:
        UserError: The value is not such an integer.
    """
    if not is_integer(value) or value < least:
        raise UserError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_whole(name: str, value: object, least: int, most: int | None = None, unit: str = "") -> None:
    """Raise unless the value of an argument is a whole number in range.

    Args:
        name: Name of the argument, for the message.
        value: What was given.
        least: Smallest allowed value.
        most: Largest allowed value, if there is one.
        unit: What is counted, for the message.

    Raises:
        UserError: The value is not such a number.
    """
    if not is_integer(value) or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"{name} must be a whole number {limits}{unit and f' {unit}'}, got {value!r}")


def check_counts(owner: str, **values: object) -> None:
    """Raise unless every value is an integer of at least 1.

    Args:
        owner: Name of the class that the fields belong to, for the message.
        **values: What was given, by field.

    Raises:
        UserError: A value is not such an integer.
    """
    for name, value in values.items():
        check_count(f"{owner}.{name}", value)


def check_nonnegative(name: str, value: object) -> None:
    """Raise unless the value is a finite number of at least 0.

    Args:
        name: "Class.field", for the message.
        value: What was given.

    Raises:
        UserError: The value is not such a number.
    """
    if not is_finite_number(value) or value < 0:
        raise UserError(f"{name} must be a finite number of at least 0, got {value!r}")


def check_number(
    name: str, value: object, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> None:
    """Raise unless the value is a finite number in range.

    Args:
        name: Dotted name of the setting, for the message.
        value: What was given.
        above: What it must be above.
        least: Smallest allowed value.
        most: Largest allowed value.

    Raises:
        UserError: The value is not such a number.
    """
    limits = {"above": above, "of at least": least, "up to": most}
    words = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if limit is not None)
    number = value if is_finite_number(value) else None
    if (
        number is None
        or (above is not None and number <= above)
        or (least is not None and number < least)
        or (most is not None and number > most)
    ):
        raise UserError(f"{name} must be a {f'number {words}' if words else 'finite number'}, got {value!r}")


def check_widths(name: str, value: object) -> None:
    """Raise unless the value is a tuple of integers of at least 1, as widths of layers are.

    Args:
        name: Name of the setting, for the message.
        value: What was given.

    Raises:
        UserError: The value is something else, or empty.
    """
    whole = isinstance(value, tuple) and all(is_integer(width) and width >= 1 for width in value)
    if not whole or not value:
        raise UserError(f"{name} must be a list of integers of at least 1, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise unless the value is true or false.

    Args:
        name: Name of the setting, for the message.
        value: What was given.

    Raises:
        UserError: The value is something else.
    """
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false, got {value!r}")


def check_choice(name: str, value: object, allowed: Sequence[str], show: Callable[[str], str] = repr) -> None:
    """Raise unless the value is one of a few words.

    Args:
        name: "Class.field", for the message.
        value: What was given.
        allowed: The words.
        show: How the message writes them.

    Raises:
        UserError: The value is none of them.
    """
    if value not in allowed:
        raise UserError(f"{name} must be one of {', '.join(map(show, allowed))}, got {value!r}")


def check_mapping(name: str, value: object) -> None:
    """Raise unless the value is a mapping whose keys are names.

    Args:
        name: Name of the setting, for the message.
        value: What was given.

    Raises:
        UserError: The value is something else.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{name} must be a mapping of names to values, got {value!r}")


def check_name(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise unless there is something of that name; the message offers the nearest.

    Args:
        kind: What is named, for the message.
        name: What was given.
        known: All names.

    Raises:
        UserError: The name is none of them.
    """
    if name not in known:
        raise UserError(unknown_name(kind, name, known))


def is_integer(value: object) -> TypeGuard[int]:
    """Whether the value is an integer of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_finite_number(value: object) -> TypeGuard[float]:
    """Whether the value is an integer or a finite float, of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
