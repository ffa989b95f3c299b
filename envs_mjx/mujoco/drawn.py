"""What the renderer needs to know of a scene."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import mujoco


@runtime_checkable
class Drawn(Protocol):
    """What can be drawn: a hashable source of a model, such as an environment."""

    def __hash__(self) -> int: ...

    @property
    def resolution(self) -> int:
        """Height and width of the picture, px."""

    @property
    def camera(self) -> int:
        """Number of the model's camera; -1 for a free one that sees the whole model."""

    def drawn_model(self) -> mujoco.MjModel:
        """The model."""

    def look(self, model: mujoco.MjModel, data: mujoco.MjData, looks: Mapping[str, Any]) -> tuple[int, ...]:
        """Give the model the looks of a state, without JAX; returns the numbers of changed textures."""
