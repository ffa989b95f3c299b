"""Factors of variation of SimplePointMaze: names, bounds, initial values, sampling order and the constraints.

Source: reference: envs/simple_point_maze.py.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from envs_mjx.leaf_spaces import until_met
from envs_mjx.spaces import Box, Dict, Discrete, RGBBox

SIZE = 5.0
"""Side of the square world."""

DEFAULT_VARIATIONS = ("agent.position",)
"""Factors that a reset samples when it is not told which."""

WALLS = ("walls.number", "walls.shape", "walls.positions")
"""Factors that make the walls."""

_DISCS = ("agent", "goal")
_INIT_SEED = 234232
_INIT_NUMBER = 5


def touches(disc: Any, radius: Any, corners: Any, shapes: Any) -> Any:
    """Which walls a disc touches or overlaps; NumPy or JAX.

    Args:
        disc: centre x, y.
        radius: of the disc, positive.
        corners: lower left corners [walls, 2].
        shapes: widths and heights [walls, 2].
    """
    gap = disc[None, :].clip(corners, corners + shapes) - disc[None, :]
    return (gap**2).sum(1) <= radius**2


def blocked(position: Any, factors: Mapping[str, Any], entity: str = "agent") -> Any:
    """Whether the `agent` or the `goal` at a position would touch a wall; NumPy or JAX, as `walls_fit`."""
    hits = touches(position, factors[f"{entity}.radius"], factors["walls.positions"], factors["walls.shape"])
    return (hits & _used(factors)).any()


def walls_fit(positions: Any, factors: Mapping[str, Any]) -> Any:
    """Whether all used walls lie inside the world and touch neither the agent's nor the goal's position."""
    return (_each_fits(positions, factors["walls.shape"], factors) | ~_used(factors)).all()


def _each_fits(positions: Any, shapes: Any, factors: Mapping[str, Any]) -> Any:
    inside = ((positions >= 0) & (positions + shapes <= SIZE)).all(1)
    agent, goal = (touches(factors[f"{one}.position"], factors[f"{one}.radius"], positions, shapes) for one in _DISCS)
    return inside & ~agent & ~goal


def _used(factors: Mapping[str, Any]) -> Any:
    return np.arange(factors["walls.shape"].shape[0]) < factors["walls.number"]


def _clear(position: Any, factors: Mapping[str, Any], entity: str) -> Any:
    return ~blocked(position, factors, entity)


@dataclass(eq=False)
class _Now:
    """The current values of all factors of a space."""

    space: Dict | None = None

    def __call__(self) -> dict[str, Any]:
        assert self.space is not None
        return {name: np.asarray(self.space.factor(name).value) for name in self.space.names()}


@dataclass(frozen=True, eq=False)
class _Constraint:
    """A constraint with the current values; no closure, since spaces are pickled."""

    holds: Callable[[Any, Mapping[str, Any]], Any]
    now: _Now

    def __call__(self, value: Any) -> bool:
        return bool(self.holds(np.asarray(value), self.now()))


class _WallPositions(Box):
    """Lower left corners of the walls; the constraint holds wall by wall, so each is drawn on its own.

    That is the same distribution as rejecting all walls together, which takes hundreds of tries.
    """

    def _draw(self, key: Array, factors: Mapping[str, Array]) -> Array:
        def one(key: Array, shape: Array, used: Array) -> Array:
            def attempt(tries: Array) -> tuple[Array, Array]:
                position = jax.random.uniform(jax.random.fold_in(key, tries), (2,), shape.dtype, 0.0, SIZE)
                return position, _each_fits(position[None], shape[None], factors)[0] | ~used

            return until_met(attempt)

        shapes = factors["walls.shape"]
        return jax.vmap(one)(jax.random.split(key, shapes.shape[0]), shapes, _used(factors))


def maze_variation_space(max_walls: int, min_walls: int, wall_min_size: float, wall_max_size: float) -> Dict:
    """A new variation space of SimplePointMaze.

    Lengths are in units of the world (5 x 5, y upwards), the speed in units of the action. Agent and goal are sampled
    before the walls, against the initial ones, and new walls then avoid both.

    Args:
        max_walls: most walls.
        min_walls: fewest walls.
        wall_min_size: smallest width and height of a wall.
        wall_max_size: largest.
    """
    rng = np.random.default_rng(_INIT_SEED)
    init_shape = rng.uniform(np.float32(wall_min_size), np.float32(wall_max_size), (max_walls, 2)).astype(np.float32)
    init_positions = rng.uniform(1, 3.5, (max_walls, 2)).astype(np.float32)
    now = _Now()

    def disc(entity: str, color: list[int], radius: float, position: float) -> dict[str, Any]:
        return {
            "color": RGBBox(init_value=color),
            "radius": Box(0.05, 0.5, (), np.float32, init_value=np.float32(radius)),
            "position": Box(
                0.0,
                SIZE,
                (2,),
                np.float32,
                init_value=(position, position),
                constrain_fn=_Constraint(functools.partial(_clear, entity=entity), now),
                traced_constrain_fn=functools.partial(_clear, entity=entity),
            ),
        }

    speed = Box(0.05, 2.0, (), np.float32, init_value=np.float32(1.0))
    walls: dict[str, Any] = {
        "number": Discrete(
            max_walls - min_walls + 1, start=min_walls, init_value=min(max(_INIT_NUMBER, min_walls), max_walls)
        ),
        "color": RGBBox(init_value=[0, 0, 0]),
        "shape": Box(wall_min_size, wall_max_size, (max_walls, 2), np.float32, init_value=init_shape),
        "positions": _WallPositions(
            0.0,
            SIZE,
            (max_walls, 2),
            np.float32,
            init_value=init_positions,
            constrain_fn=_Constraint(walls_fit, now),
            traced_constrain_fn=walls_fit,
        ),
    }
    now.space = space = Dict(
        {
            "agent": Dict(disc("agent", [255, 0, 0], 0.1, 0.5) | {"speed": speed}),
            "goal": Dict(disc("goal", [0, 255, 0], 0.2, 4.5)),
            "walls": Dict(walls),
            "background": Dict({"color": RGBBox(init_value=[255, 255, 255])}),
        },
        sampling_order=("agent", "goal", "walls", "background"),
    )
    return space
