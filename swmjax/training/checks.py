"""Checks of hyperparameters that come from a file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from envs_mjx.checks import UserError


def check_numbers(
    owner: Any,
    *,
    whole: Mapping[str, int],
    positive: Sequence[str] = (),
    not_negative: Sequence[str] = (),
    finite: Sequence[str] = (),
    shares: Sequence[str] = (),
    flags: Sequence[str] = (),
    widths: Sequence[str] = (),
    prefix: str = "algorithm.",
) -> None:
    """Refuse hyperparameters that are no sensible numbers.

    Args:
        owner: The object that has them.
        whole: Whole numbers and the least that each may be.
        positive: Finite numbers above 0.
        not_negative: Finite numbers of at least 0.
        finite: Finite numbers.
        shares: Numbers above 0 and up to 1.
        flags: True or false.
        widths: Tuples of whole numbers above 0, at least one.
        prefix: Put before the names in messages.

    Raises:
        UserError: names the setting, the value and what is allowed.
    """
    for name, least in whole.items():
        if not _is_whole(getattr(owner, name), least):
            _refuse(owner, prefix, name, f"an integer of at least {least}")
    for name in positive:
        if not _is_number(getattr(owner, name)) or not getattr(owner, name) > 0.0:
            _refuse(owner, prefix, name, "a number above 0")
    for name in not_negative:
        if not _is_number(getattr(owner, name)) or not getattr(owner, name) >= 0.0:
            _refuse(owner, prefix, name, "a number of at least 0")
    for name in finite:
        if not _is_number(getattr(owner, name)):
            _refuse(owner, prefix, name, "a finite number")
    for name in shares:
        if not _is_number(getattr(owner, name)) or not 0.0 < getattr(owner, name) <= 1.0:
            _refuse(owner, prefix, name, "a number above 0 and up to 1")
    for name in flags:
        if not isinstance(getattr(owner, name), bool):
            _refuse(owner, prefix, name, "true or false")
    for name in widths:
        value = getattr(owner, name)
        if not isinstance(value, tuple) or not value or not all(_is_whole(width, 1) for width in value):
            _refuse(owner, prefix, name, "a list of integers of at least 1")


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(owner: Any, prefix: str, name: str, allowed: str) -> None:
    raise UserError(f"{prefix}{name} must be {allowed}, got {getattr(owner, name)!r}")


def as_tuple(owner: Any, name: str) -> None:
    """Make the list of a frozen object a tuple; anything else is left to the checks."""
    if isinstance(getattr(owner, name), list):
        object.__setattr__(owner, name, tuple(getattr(owner, name)))
