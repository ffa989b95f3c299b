"""Factors of variation of TwoRoom: names, bounds, initial values, sampling order and the two constraints.

Source: reference: envs/two_room/env.py (`_build_variation_space`).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from envs_mjx.planar.arena import BORDER, SIZE
from envs_mjx.spaces import Box, Dict, Discrete, MultiDiscrete, RGBBox

WALL_CENTER = 112
"""Where the wall between the rooms lies along its axis, px."""
MAX_DOORS = 3
DOOR_FIT = 1.1
"""A door fits when its half extent is at least this many agent radii."""

DEFAULT_VARIATIONS = ("agent.position", "target.position")
"""Factors that a reset samples when it is not told which."""


def clear_of_wall(position: Any, factors: Mapping[str, Any]) -> Any:
    """Whether an agent at a position touches no part of the wall between the rooms, doors counted as wall.

    Args:
        position: agent x, y in px, float32; NumPy or JAX.
        factors: factors by dotted name, of the same kind.
    """
    # The order matters: near the threshold all of these float32 differences are exact.
    depth = abs(position[1 - factors["wall.axis"]] - WALL_CENTER) - factors["wall.thickness"] // 2
    return depth > factors["agent.radius"][0]


@functools.cache
def _widest_agents(margin: float) -> np.ndarray:
    """Largest float32 radius that fits through a door of half extent 0, 1, ..., 21 px, decided in float64."""
    halves = np.arange(22.0)
    widest = np.nextafter((halves / margin).astype(np.float32), np.float32(np.inf))
    while (too_wide := margin * widest.astype(float) > halves).any():
        widest = np.where(too_wide, np.nextafter(widest, np.float32(-np.inf)), widest)
    return widest


def fitting_doors(sizes: Int[Array, "3"], factors: Mapping[str, Array], margin: float = DOOR_FIT) -> Bool[Array, "3"]:
    """Which of the used doors the agent fits through.

    Args:
        sizes: half extents of the doors, px.
        factors: factors by dotted name.
        margin: agent radii that a half extent must measure.
    """
    used = jnp.arange(MAX_DOORS) < factors["door.number"]
    return used & (factors["agent.radius"] <= jnp.asarray(_widest_agents(margin))[sizes])


def some_door_fits(sizes: Int[Array, "3"], factors: Mapping[str, Array]) -> Bool[Array, ""]:
    """Whether the agent fits through one of the used doors."""
    return fitting_doors(sizes, factors).any()


@dataclass(frozen=True, eq=False)
class _ClearOfWall:
    """`clear_of_wall` with the current values; no closure, since spaces are pickled."""

    axis: Discrete
    thickness: Discrete
    radius: Box

    def __call__(self, position: Any) -> bool:
        values = {"wall.axis": self.axis.value, "wall.thickness": self.thickness.value}
        return bool(clear_of_wall(np.asarray(position, np.float32), values | {"agent.radius": self.radius.value}))


@dataclass(frozen=True, eq=False)
class _SomeDoorFits:
    """`some_door_fits` with the current values."""

    number: Discrete
    radius: Box

    def __call__(self, sizes: Any) -> bool:
        return any(float(size) >= DOOR_FIT * float(self.radius.value[0]) for size in sizes[: int(self.number.value)])


def tworoom_variation_space() -> Dict:
    """A new variation space of TwoRoom.

    Positions, radii and sizes are in px of the 224 x 224 picture (y grows downward), the speed in px per step. A door's
    size is its half extent; doors beyond `door.number` are unused. As in the reference `wall.border_color` and
    `task.min_steps` have no effect, and the target may lie anywhere, even inside the wall.
    """
    agent_radius = _radius()
    thickness = Discrete(35, start=7, init_value=10)
    axis = Discrete(2, init_value=1)
    door_number = Discrete(MAX_DOORS, start=1, init_value=1)
    clear = _ClearOfWall(axis, thickness, agent_radius)
    return Dict(
        {
            "agent": Dict(
                {
                    "color": RGBBox(init_value=[255, 0, 0]),
                    "radius": agent_radius,
                    "position": _position((60, 112), constrain_fn=clear, traced_constrain_fn=clear_of_wall),
                    "speed": Box(1.75, 10.5, (1,), np.float32, init_value=[5]),
                }
            ),
            "target": Dict(
                {
                    "color": RGBBox(init_value=[0, 255, 0]),
                    "radius": _radius(),
                    "position": _position((164, 112)),
                }
            ),
            "wall": Dict(
                {
                    "color": RGBBox(init_value=[0, 0, 0]),
                    "thickness": thickness,
                    "axis": axis,
                    "border_color": RGBBox(init_value=[0, 0, 0]),
                },
                sampling_order=("color", "border_color", "thickness", "axis"),
            ),
            "door": Dict(
                {
                    "color": RGBBox(init_value=[255, 255, 255]),
                    "number": door_number,
                    "size": MultiDiscrete(
                        [21] * MAX_DOORS,
                        start=[1] * MAX_DOORS,
                        init_value=[14] * MAX_DOORS,
                        constrain_fn=_SomeDoorFits(door_number, agent_radius),
                        traced_constrain_fn=some_door_fits,
                    ),
                    "position": MultiDiscrete([SIZE] * MAX_DOORS, init_value=[49] * MAX_DOORS),
                }
            ),
            "background": Dict({"color": RGBBox(init_value=[255, 255, 255])}),
            "rendering": Dict({"render_target": Discrete(2, init_value=0)}),
            "task": Dict({"min_steps": Discrete(100, start=15, init_value=25)}),
        },
        sampling_order=("background", "wall", "agent", "door", "task", "target", "rendering"),
    )


def _radius() -> Box:
    return Box(7, 14, (1,), np.float32, init_value=[7])


def _position(init_value: tuple[float, float], **constraints: Any) -> Box:
    return Box(BORDER, SIZE - BORDER - 1, (2,), np.float32, init_value=init_value, **constraints)
