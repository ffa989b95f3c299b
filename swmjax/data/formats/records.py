"""How the last episodes of a dataset are made, as it remembers it."""

import json
from typing import Any


def parsed(said: object) -> dict[str, Any] | None:
    """A record from its text; None if there is none, or it is damaged."""
    try:
        record = json.loads(said) if isinstance(said, str | bytes) else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
