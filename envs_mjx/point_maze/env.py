"""The SimplePointMaze environment, `swm/SimplePointMaze-v0`: a disc finds its way between walls to a goal.

Source: reference: envs/simple_point_maze.py.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import UserError, check_flag
from envs_mjx.planar.point_goal import Factors, PointGoalEnv
from envs_mjx.point_maze import expert
from envs_mjx.point_maze.factors import DEFAULT_VARIATIONS, SIZE, WALLS, blocked, maze_variation_space, walls_fit
from envs_mjx.point_maze.render import render_frame
from envs_mjx.state import State

_SUCCESS_REWARD, _STEP_REWARD = 1.0, -0.01


@dataclass(frozen=True)
class SimplePointMaze(PointGoalEnv):
    """Move a disc to a goal between rectangular walls in a 5 x 5 world whose y axis points up.

    The observation `observation` [2] is agent x, y. The state and goal vectors are agent x, y and goal x, y. An action
    moves the agent by speed times action, each axis of which is clipped to [-0.2, 0.2]. A step that would end in
    a wall leaves the agent where it is; there is no sliding, and only the end of a step is tested, so that an agent may
    jump over a corner. Then the centre is clipped to the world. The episode terminates, with the reward 1, when the
    centre is closer to the goal than the goal's radius; every other step costs 0.01. Nothing truncates.

    As in the reference a reset samples agent and goal against the initial walls, and new walls then avoid both. So
    sampling `walls.number`, `walls.shape` or the radii without `walls.positions` may put an agent into a wall, where it
    stays until a step leads out (the reference fails there; `variation_space.valid` tells). The goal's picture
    is left out of `info`; `render(set_state(state, goal))` draws it (the reference shows the agent at a random place).

    Between walls the dynamics are smooth, and gradients of rollouts are those of the formula; whether a wall stops a
    step has no gradient.

    Args:
        max_walls: most walls, 1 to 32.
        min_walls: fewest walls, 0 to `max_walls`.
        wall_min_size: smallest width and height of a wall, above 0.
        wall_max_size: largest, below 5.
        show_goal: draw the goal.

    Raises:
        UserError: an argument of another kind or value, or walls whose initial positions break a constraint.
    """

    option_names = ("state", "goal_state")
    target = "goal"
    reach = 0.2

    max_walls: int = 6
    min_walls: int = 4
    wall_min_size: float = 0.5
    wall_max_size: float = 1.5
    show_goal: bool = True

    def __post_init__(self) -> None:
        check_flag("show_goal", self.show_goal)
        if not 1 <= self.max_walls <= 32 or not 0 <= self.min_walls <= self.max_walls:
            raise UserError(
                "max_walls must be 1 to 32 and min_walls 0 to max_walls, "
                f"got max_walls={self.max_walls!r} and min_walls={self.min_walls!r}"
            )
        if not 0 < self.wall_min_size < self.wall_max_size < SIZE:
            raise UserError(
                f"wall_min_size and wall_max_size must grow between 0 and {SIZE:g}, "
                f"got {self.wall_min_size!r} and {self.wall_max_size!r}"
            )
        self.check_reset(())

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Bounds of `observation`."""
        return gymnasium.spaces.Dict({"observation": gymnasium.spaces.Box(0.0, SIZE, (2,), np.float32)})

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        return maze_variation_space(self.max_walls, self.min_walls, self.wall_min_size, self.wall_max_size)

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Agent position."""
        return DEFAULT_VARIATIONS

    def _check_start(self, sampled: Set[str], given: Mapping[str, Array], options: Mapping[str, Any]) -> None:
        """Refuse explicit factors that put agent, goal and walls into each other, as far as nothing is sampled.

        Raises:
            UserError: names the factors.
        """
        space = self.variation_space
        open_ = sampled | {name for name, value in given.items() if isinstance(value, jax.core.Tracer)}
        factors = {
            name: np.asarray(space.factor(name).init_value if name not in given else given[name])
            for name in space.names()
            if name not in open_
        }
        for entity in ("agent", "goal"):
            names = {f"{entity}.position", f"{entity}.radius", *WALLS}
            if not names & open_ and bool(blocked(factors[f"{entity}.position"], factors, entity)):
                raise UserError(
                    f"{entity}.position {factors[f'{entity}.position'].tolist()} touches a wall "
                    f"(see {entity}.radius, {', '.join(WALLS)}); give another position or sample it"
                )
        names = {f"{entity}.{of}" for entity in ("agent", "goal") for of in ("position", "radius")} | set(WALLS)
        if not names & open_ and not bool(walls_fit(factors["walls.positions"], factors)):
            raise UserError(
                f"walls.positions {factors['walls.positions'].tolist()}: a wall does not fit into the "
                f"{SIZE:g} x {SIZE:g} world (see walls.shape); give other positions or sample them"
            )

    def _move(self, agent: Float[Array, "2"], action: Float[Array, "2"], factors: Factors) -> Float[Array, "2"]:
        """One step at the agent's speed, unless it ends in a wall."""
        speed = factors["agent.speed"]
        # Clamping the product instead of the action keeps XLA from rounding product and sum as one operation.
        limit = self.reach * speed
        reached = agent + jnp.clip(speed * action, -limit, limit)
        return jnp.clip(jnp.where(blocked(reached, factors), agent, reached), 0.0, SIZE)

    def _observe(self, agent: Float[Array, "2"], goal: Float[Array, "2"], factors: Factors) -> Float[Array, "2"]:
        return agent

    def _radius(self, factors: Factors) -> Float[Array, ""]:
        return factors["goal.radius"]

    def _advance(self, state: State, action: Float[Array, "2"]) -> State:
        moved = super()._advance(state, action)
        reward = jnp.where(moved.success, _SUCCESS_REWARD, _STEP_REWARD)
        return moved.replace(reward=reward.astype(moved.reward.dtype))

    def expert_action(self, key: Key[Array, ""], state: State) -> Float[Array, "2"]:
        """A step on the shortest way to the goal, see `envs_mjx.point_maze.expert`."""
        return expert.expert_action(state.physics, state.goal, state.factors, self.reach)

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The reference's frame, 500 x 500, without matplotlib."""
        return render_frame(state.physics, state.goal, state.factors, self.show_goal)
