"""Protocols by the name that settings use: which episodes an evaluation plays."""

from swmjax.world.protocols.base import Protocol
from swmjax.world.protocols.drawn import Drawn, draw_problem
from swmjax.world.protocols.episodic import Episodic
from swmjax.world.protocols.recorded import Recorded

PROTOCOLS: dict[str, type[Protocol]] = {"drawn": Drawn, "episodic": Episodic, "recorded": Recorded}

__all__ = ["PROTOCOLS", "Drawn", "Episodic", "Protocol", "Recorded", "draw_problem"]
