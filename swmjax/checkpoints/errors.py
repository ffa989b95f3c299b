"""The one error of the checkpoint layer, and how it tells what the user should know."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from envs_mjx.checks import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be used; one line per problem, naming file, place and what is allowed."""


def warn(text: str) -> None:
    """Tell a user of the library something about a checkpoint."""
    warnings.warn(text, UserWarning, stacklevel=2)


@contextlib.contextmanager
def within(file: Path) -> Iterator[None]:
    """Put a file in front of every line of a CheckpointError that comes from inside."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None


def listed(problems: list[str], limit: int = 10) -> str:
    """Problems line by line; how many more there are takes the place of those beyond the limit."""
    more = len(problems) - limit
    return "\n".join([*problems[:limit], f"and {more} more problems of this kind"] if more > 0 else problems)


def shown(value: object, limit: int = 80) -> str:
    """Show a value that came from a file on one line, whatever it holds.

    Args:
        value: a string is quoted and escaped; anything else is shown by its type name.
        limit: longest text returned, in characters.

    Returns:
        A printable string without line breaks.
    """
    text = ascii(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
