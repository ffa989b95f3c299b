"""Factors of variation of PushT: names, bounds, initial values and sampling order.

Source: reference: envs/pusht/env.py.
"""

import numpy as np

from envs_mjx.spaces import Box, Dict, Discrete, RGBBox

SHAPES = ("o", "L", "T", "Z", "square", "I", "small_tee", "+")
"""Names of the shapes by index; "o", the circle, is for the agent only."""

DEFAULT_VARIATIONS = ("agent.start_position", "block.start_position", "block.angle")
"""Factors that a reset samples when it is not told which."""


def pusht_variation_space() -> Dict:
    """A new variation space of PushT.

    Positions are in window pixels (the window is 512 x 512, y grows downward), angles in rad, velocities in px/s;
    a scale is the length in px of the unit of the shape.
    """
    return Dict(
        {
            "agent": Dict(
                {
                    "color": RGBBox(init_value=[65, 105, 225]),
                    "scale": _scale(40),
                    "shape": Discrete(len(SHAPES), init_value=SHAPES.index("o")),
                    "angle": _angle(0.0),
                    "start_position": _position(50, 450, (256, 400)),
                    "velocity": _position(0, 512, (0, 0)),
                }
            ),
            "block": Dict(
                {
                    "color": RGBBox(init_value=[119, 136, 153]),
                    "scale": _scale(30),
                    "shape": Discrete(len(SHAPES) - 1, start=1, init_value=SHAPES.index("T")),
                    "angle": _angle(0.0),
                    "start_position": _position(100, 400, (400, 100)),
                }
            ),
            "goal": Dict(
                {
                    "color": RGBBox(init_value=[144, 238, 144]),
                    "scale": _scale(40),
                    "angle": _angle(np.pi / 4),
                    "position": _position(50, 450, (256, 256)),
                }
            ),
            "background": Dict({"color": RGBBox(init_value=[255, 255, 255])}),
            "rendering": Dict({"render_goal": Discrete(2, init_value=1)}),
        },
        sampling_order=("background", "goal", "block", "agent", "rendering"),
    )


def _scale(init_value: float) -> Box:
    return Box(20, 60, (), np.float32, init_value=init_value)


def _angle(init_value: float) -> Box:
    return Box(-2 * np.pi, 2 * np.pi, (), np.float64, init_value=init_value)


def _position(low: float, high: float, init_value: tuple[float, float]) -> Box:
    return Box(low, high, (2,), np.float64, init_value=init_value)
