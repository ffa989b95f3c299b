"""The one error of the checkpoint layer."""

from __future__ import annotations

from envs_mjx.checks import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be used; one line per problem, naming file, place and what is allowed."""


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
