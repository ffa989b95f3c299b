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
    given = str(name).lower()
    matches = difflib.get_close_matches(given, lowered, n=3, cutoff=0.5)
    # What is clearly further away than the best match would only distract.
    likeness = [difflib.SequenceMatcher(None, match, given).ratio() for match in matches]
    near = [lowered[match] for match, ratio in zip(matches, likeness, strict=True) if ratio > likeness[0] - 0.1]
    if near:
        return f"unknown {kind} {name!r}; did you mean {' or '.join(repr(match) for match in near)}?"
    return f"unknown {kind} {name!r}; known are {', '.join(repr(candidate) for candidate in known) or 'none'}"
