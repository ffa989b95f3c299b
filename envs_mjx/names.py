"""Error messages that help with a mistyped name."""

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that does not exist, with the nearest existing ones.

    Args:
        kind: what the name should be, for instance "environment".
        name: what was given.
        known: all allowed names.

    Returns:
        One line such as `unknown factor 'agent.colour'; did you mean 'agent.color'?`.
    """
    known = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in known}
    near = [lowered[match] for match in difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.5)]
    if near:
        return f"unknown {kind} {name!r}; did you mean {' or '.join(repr(match) for match in near)}?"
    return f"unknown {kind} {name!r}; known are {', '.join(repr(candidate) for candidate in known) or 'none'}"
