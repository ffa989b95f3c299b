"""How a run tells where it is and what should be read."""

from collections.abc import Callable
from typing import Any

Progress = Callable[[str, int], None]
"""Told the stage and how much is done, often."""
Note = Callable[[str], None]
"""Told what the user should read, once."""


def silent(*args: Any) -> None:
    """Progress or note for nobody."""
