"""Factors of variation of Piecewise: names, bounds, initial values and sampling order; none is constrained.

Source: reference: envs/piecewise/piecewise_env.py (`_build_variation_space`).
"""

import colorsys
import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from envs_mjx.planar.arena import BORDER, SIZE
from envs_mjx.spaces import Box, Dict, Discrete, RGBBox

DEFAULT_VARIATIONS = ("agent.position", "target.position")
"""Factors that a reset samples when it is not told which."""

_INITIAL_BIAS = 2.0


def piecewise_variation_space(grid_n: int) -> Dict:
    """A new variation space of Piecewise.

    Positions and radii are in px of the 224 x 224 picture (y grows downward), speed and biases in px per step. Zone
    `i` is in row `i // grid_n` and column `i % grid_n`. `task.min_steps` has no effect, as in the reference.

    Args:
        grid_n: zones along each side.
    """
    zones = grid_n * grid_n
    # All biases come before all colours in the sampling order.
    factors = {f"bias_{i}": _bias(i / zones) for i in range(zones)}
    factors |= {f"color_{i}": RGBBox(init_value=_pastel(i / zones)) for i in range(zones)}
    return Dict(
        {
            "agent": Dict(
                {
                    "color": RGBBox(init_value=[255, 0, 0]),
                    "radius": _radius(),
                    "position": _position((60, 112)),
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
            "background": Dict({"color": RGBBox(init_value=[255, 255, 255])}),
            "border": Dict({"color": RGBBox(init_value=[0, 0, 0])}),
            "rendering": Dict(
                {name: Discrete(2, init_value=0) for name in ("render_target", "render_zones", "render_bias_field")}
            ),
            "task": Dict({"min_steps": Discrete(100, start=15, init_value=25)}),
            "zones": Dict(factors),
        },
        sampling_order=("background", "border", "agent", "task", "target", "rendering", "zones"),
    )


def of_zones(factors: Mapping[str, Array], name: str, grid_n: int) -> Array:
    """`bias` [zones, 2] or `color` [zones, 3] of all zones."""
    return jnp.stack([factors[f"zones.{name}_{i}"] for i in range(grid_n * grid_n)])


def _bias(turn: float) -> Box:
    angle = 2.0 * math.pi * turn
    init_value = np.asarray([_INITIAL_BIAS * math.cos(angle), _INITIAL_BIAS * math.sin(angle)], np.float32)
    return Box(-4, 4, (2,), np.float32, init_value=init_value)


def _pastel(hue: float) -> list[int]:
    return [int(255 * channel) for channel in colorsys.hsv_to_rgb(hue, 0.25, 1.0)]


def _radius() -> Box:
    return Box(7, 14, (1,), np.float32, init_value=[7])


def _position(init_value: tuple[float, float]) -> Box:
    return Box(BORDER, SIZE - BORDER - 1, (2,), np.float32, init_value=init_value)
