"""Factors of variation of VoidRun: names, bounds, initial values, sampling order and the constraint.

Source: reference: its removed environment VoidRun.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Int

from envs_mjx.spaces import Box, Dict, Discrete, MultiDiscrete, RGBBox

MAX_SIZE = 50
"""Cells along each side of the board that every state has room for."""

DEFAULT_VARIATIONS = ("board.prob_gravel", "agent.position", "goal.position")
"""Factors that a reset samples when it is not told which."""


def _on_board(position: Int[Array, "2"], factors: Mapping[str, Array]) -> Bool[Array, ""]:
    return (position < factors["board.size"]).all()


@dataclass(frozen=True, eq=False)
class _OnBoard:
    """`_on_board` with the current size; no closure, since spaces are pickled."""

    size: Discrete

    def __call__(self, position: Any) -> bool:
        return bool((np.asarray(position) < self.size.value).all())


def void_run_variation_space() -> Dict:
    """A new variation space of VoidRun.

    Positions are row, column. `board.prob_break` has no effect, as in the reference; `agent.prob_break` has.
    """
    size = Discrete(MAX_SIZE - 10, start=10, init_value=20)

    def place(init_value: tuple[int, int]) -> MultiDiscrete:
        return MultiDiscrete(
            [MAX_SIZE] * 2, init_value=init_value, constrain_fn=_OnBoard(size), traced_constrain_fn=_on_board
        )

    def prob_break() -> Box:
        return Box(0.5, 1.0, (), np.float32, init_value=np.float32(1.0))

    return Dict(
        {
            "board": Dict(
                {
                    "size": size,
                    "prob_gravel": Box(0.0, 1.0, (), np.float32, init_value=np.float32(0.45)),
                    "sand_color": RGBBox(init_value=[242, 218, 130]),
                    "gravel_color": RGBBox(init_value=[128, 128, 128]),
                    "void_color": RGBBox(init_value=[0, 0, 0]),
                    "prob_break": prob_break(),
                }
            ),
            "agent": Dict(
                {
                    "color": RGBBox(init_value=[255, 0, 0]),
                    "position": place((10, 10)),
                    "prob_break": prob_break(),
                }
            ),
            "goal": Dict({"color": RGBBox(init_value=[52, 235, 201]), "position": place((5, 5))}),
        }
    )
