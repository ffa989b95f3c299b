"""The factors of variation that the domains share.

Source: reference: envs/dmcontrol, the `variation_space` of each domain.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs_mjx import spaces

BROWN = (0.7, 0.5, 0.3)
RED = (0.6, 0.3, 0.3)


def number(low: float, high: float, initial: float, dtype: type = np.float64) -> spaces.Box:
    """An interval of one number, in the reference's shape (1,)."""
    return spaces.Box(low, high, (1,), dtype, init_value=np.asarray([initial], dtype))


def density() -> spaces.Box:
    """Density of geoms, kg/m^3."""
    return number(500, 1500, 1000, np.float32)


def color(initial: Sequence[float] = BROWN) -> spaces.Box:
    """Red, green and blue, 0 to 1."""
    return spaces.Box(0.0, 1.0, (3,), np.float64, init_value=np.asarray(initial, np.float64))


def switch(initial: int) -> spaces.Discrete:
    """Off (0) or on (1)."""
    return spaces.Discrete(2, init_value=initial)


def lock(fixed: bool) -> spaces.Discrete:
    """Whether a joint is locked: 0 free, 1 locked.

    The reference starts with 1 and locks nothing; where locks work, a 1 would change the nominal task.
    """
    return switch(0 if fixed else 1)


def gravity() -> spaces.Dict:
    """Acceleration of free fall along the axes, m/s^2."""
    return spaces.Dict({"x": number(-5, 5, 0), "y": number(-5, 5, 0), "z": number(-20, 0, -9.81)})


def floor(friction: bool = False, rotation: bool = False) -> spaces.Dict:
    """Colours of the floor's squares, and on request its sliding friction and its slope (degrees)."""
    first, second = (0.1, 0.2, 0.3), (0.2, 0.3, 0.4)
    parts = {"color": spaces.Box(0.0, 1.0, (2, 3), np.float64, init_value=np.asarray([first, second]))}
    if friction:
        parts = {"friction": number(0, 1, 1, np.float32)} | parts
    if rotation:
        parts["rotation_y"] = number(-10, 10, 0)
    return spaces.Dict(parts)


def target() -> spaces.Dict:
    """Colour of the target, and its shape: 0 a box, 1 a sphere."""
    return spaces.Dict({"color": color(RED), "shape": switch(1)})


def light() -> spaces.Dict:
    """Brightness of the lamp."""
    return spaces.Dict({"intensity": number(0, 1, 0.7)})


def rendering() -> spaces.Dict:
    """Whether the target shows."""
    return spaces.Dict({"render_target": switch(0)})


def domain_space(agent: Mapping[str, Any], **groups: spaces.Dict) -> spaces.Dict:
    """The space of a domain: the agent's colour and its other factors, further groups, and the lamp."""
    parts: dict[str, Any] = {"color": color(), **agent}
    return spaces.Dict({"agent": spaces.Dict(parts), **groups, "light": light()})
