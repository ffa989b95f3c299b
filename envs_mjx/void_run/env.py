"""The VoidRun environment, `swm/VoidRun-v0`: every cell that the agent leaves falls into the void.

Source: reference: its removed environment VoidRun.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import UserError, check_flag, check_whole
from envs_mjx.core import Env
from envs_mjx.state import State
from envs_mjx.state_bounds import StateBounds
from envs_mjx.void_run import expert
from envs_mjx.void_run.factors import DEFAULT_VARIATIONS, MAX_SIZE, void_run_variation_space

VOID, SAND, GRAVEL, GOAL = range(4)
"""What a cell can be; `GOAL` appears in observations only."""

_MOVES = ((0, -1), (0, 1), (1, 0), (-1, 0))
_FALL_COST = 2.0 * MAX_SIZE


@chex.dataclass(frozen=True)
class Physics:
    """What changes on the board.

    Attributes:
        board: ground of each cell by row and column; void beyond `board.size`.
        position: row and column of the agent.
    """

    board: Int[Array, "*batch 50 50"]
    position: Int[Array, "*batch 2"]


@dataclass(frozen=True)
class VoidRun(Env):
    """Run over a board of sand and gravel to a goal; the cell that the agent leaves turns into void.

    Actions are 0 left, 1 right, 2 down (next row), 3 up. A step into the board's edge stays and breaks the agent's own
    cell. A cell breaks with probability `agent.prob_break`. The reward is 1 for a cell that newly broke. The episode is
    truncated when the agent stands on void, and an agent that fell stays there. It terminates when the agent stands on
    the goal, at a reset as well.

    The observation is `board` [50, 50] with 0 void, 1 sand, 2 gravel and 3 the goal, unless it has broken, and
    `perception` [2], the agent's row and column. The goal vector is row and column. A state vector (`info["state"]`) is
    row and column and then the 50 x 50 ground; `set_state` also takes row and column alone.

    Where the reference's code only hurts, this differs. There, drawing wrote the goal into the board, which mended a
    broken cell; and termination, which also asked for all other cells to be void, compared values that never are equal.
    `clear_first` is that rule as it was meant: an even board without bumps allows it only if the agent starts an odd
    number of cells away. The goal's picture is left out of `info`. Without positions given, the initial ones are
    moved onto a smaller board. `board.prob_break` is never read, as in the reference.

    Args:
        resolution: side of the picture in px, at least 8.
        clear_first: terminate at the goal only when every other cell is void.

    Raises:
        UserError: an argument of another kind or value.
    """

    option_names = ("state", "goal_state")

    resolution: int = 224
    clear_first: bool = False

    def __post_init__(self) -> None:
        check_whole("resolution", self.resolution, 8, unit="px")
        check_flag("clear_first", self.clear_first)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Left, right, down, up."""
        return gymnasium.spaces.Discrete(len(_MOVES))

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Ground of the cells, and the agent's row and column."""
        return gymnasium.spaces.Dict(
            {
                "board": gymnasium.spaces.Box(VOID, GOAL, (MAX_SIZE, MAX_SIZE), np.int8),
                "perception": gymnasium.spaces.MultiDiscrete([MAX_SIZE] * 2, dtype=np.int32),
            }
        )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        return void_run_variation_space()

    @property
    def inert_factors(self) -> tuple[str, ...]:
        """What the reference never reads."""
        return ("board.prob_break",)

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Share of gravel, agent position and goal position."""
        return DEFAULT_VARIATIONS

    def _check_start(self, sampled: Set[str], given: Mapping[str, Array], options: Mapping[str, Any]) -> None:
        """Refuse explicit positions beyond the board.

        Raises:
            UserError: names the position and the board's size.
        """
        size = given.get("board.size", self.variation_space.factor("board.size").init_value)
        if isinstance(size, jax.core.Tracer) or "board.size" in sampled:
            return
        for name in ("agent.position", "goal.position"):
            cell = given.get(name, np.zeros(2, int))
            if not isinstance(cell, jax.core.Tracer) and not (np.asarray(cell) < np.asarray(size)).all():
                raise UserError(
                    f"{name} {np.asarray(cell).tolist()} is beyond the board of {int(size)} x {int(size)} cells; "
                    "give rows and columns below board.size"
                )

    def state_bounds(self, size: int) -> StateBounds:
        """The cells of the largest board, on a smaller one of which the nearest is taken; ground as it is observed."""
        cells = MAX_SIZE * MAX_SIZE
        if size not in (2, 2 + cells):
            return super().state_bounds(size)
        high = np.concatenate([np.full(2, MAX_SIZE - 1), np.full(size - 2, GOAL)])
        return StateBounds.of(0, high, size)

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        """`options` may hold `state` (row, column, or a state vector) and `goal_state` (row, column)."""
        board_key, key = jax.random.split(key)
        gravel = jax.random.bernoulli(board_key, factors["board.prob_gravel"], (MAX_SIZE, MAX_SIZE))
        on_board = jnp.arange(MAX_SIZE) < factors["board.size"]
        ground = jnp.where(gravel, GRAVEL, SAND)
        board = jnp.where(on_board[:, None] & on_board[None, :], ground, VOID).astype(jnp.int8)
        agent, goal = (_on_board(factors[f"{name}.position"], factors) for name in ("agent", "goal"))
        physics = Physics(board=board, position=agent)
        if "state" in options:
            physics = _placed(physics, options["state"], factors)
        if "goal_state" in options:
            goal = _on_board(_cell(options["goal_state"], "goal_state"), factors)
        dtype = factors["board.prob_gravel"].dtype
        return self._first_state(physics, goal, factors, key, dtype, {"newly_voided": jnp.asarray(False)})

    def _advance(self, state: State, action: Int[Array, ""]) -> State:
        """One move; the cell that is left breaks."""
        board, old, factors = state.physics.board, state.physics.position, state.factors
        standing = board[old[0], old[1]] != VOID
        moved = _on_board(old + jnp.asarray(_MOVES, jnp.int32)[action], factors)
        chance = jax.random.uniform(jax.random.fold_in(state.key, state.step), (), factors["agent.prob_break"].dtype)
        breaks = standing & (chance < factors["agent.prob_break"])
        board = board.at[old[0], old[1]].set(jnp.where(breaks, VOID, board[old[0], old[1]]).astype(board.dtype))
        physics = Physics(board=board, position=jnp.where(standing, moved, old))
        return self._observed(
            state.replace(
                physics=physics,
                reward=breaks.astype(state.reward.dtype),
                step=state.step + 1,
                info=state.info | {"newly_voided": breaks},
            )
        )

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """Picture of the board, its cells as even as whole pixels allow, row 0 at the bottom; it changes nothing.

        An agent on void is not drawn. The reference's picture grows with the board and has axes around it.
        """
        physics, factors = state.physics, state.factors
        colors = jnp.stack(
            [
                factors[name]
                for name in ("board.void_color", "board.sand_color", "board.gravel_color", "goal.color", "agent.color")
            ]
        )
        cells = physics.board.at[state.goal[0], state.goal[1]].set(GOAL)
        row, column = physics.position
        standing = physics.board[row, column] != VOID
        cells = cells.at[row, column].set(jnp.where(standing, GOAL + 1, cells[row, column]).astype(cells.dtype))
        cell = (2 * jnp.arange(self.resolution) + 1) * factors["board.size"] // (2 * self.resolution)
        return colors[cells[cell[::-1, None], cell[None, :]]]

    def _set_physics(self, state: State, value: Array) -> State:
        """The agent at row, column, or the whole state vector, which holds the ground too."""
        info = state.info | {"newly_voided": jnp.asarray(False)}
        return state.replace(physics=_placed(state.physics, value, state.factors), info=info)

    def _set_goal(self, state: State, goal: Array) -> State:
        """Put the goal at row, column; the factor `goal.position` stays."""
        return self._observed(state.replace(goal=_on_board(_cell(goal, "goal_state"), state.factors)))

    def goal_from(self, state: State) -> Int[Array, "2"]:
        """The goal that a state reaches: the agent's row and column."""
        return state.physics.position

    def distance(self, state: State) -> Float[Array, ""]:
        """Moves that the agent is away from the goal if no void lies between."""
        away = jnp.abs(state.physics.position - state.goal).sum()
        return away.astype(state.factors["board.prob_gravel"].dtype)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """The distance, and 100 more for an agent that fell, since it cannot come back."""
        return self.distance(state) + jnp.where(state.truncated, _FALL_COST, 0.0)

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Int[Array, ""]:
        """A random move among those that do not lead into the void; any if all do."""
        position, board = state.physics.position, state.physics.board
        cells = jax.vmap(lambda move: _on_board(position + move, state.factors))(jnp.asarray(_MOVES, jnp.int32))
        safe = (board[cells[:, 0], cells[:, 1]] != VOID) & (cells != position[None, :]).any(1)
        return jax.random.categorical(key, jnp.where(safe | ~safe.any(), 0.0, -jnp.inf))

    def expert_action(self, key: Key[Array, ""], state: State) -> Int[Array, ""]:
        """A move on the shortest way to the goal that no void bars."""
        position, board = state.physics.position, state.physics.board
        cells = jax.vmap(lambda move: _on_board(position + move, state.factors))(jnp.asarray(_MOVES, jnp.int32))
        return expert.expert_action(board != VOID, position, state.goal, cells)

    def _observed(self, state: State) -> State:
        board, position, goal = state.physics.board, state.physics.position, state.goal
        fell = board[position[0], position[1]] == VOID
        reached = ~fell & (position == goal).all()
        if self.clear_first:
            reached &= (board != VOID).sum() == 1
        goal_cell = board[goal[0], goal[1]]
        seen = board.at[goal[0], goal[1]].set(jnp.where(goal_cell == VOID, VOID, GOAL).astype(board.dtype))
        info = {
            "in_void": fell,
            "steps": state.step,
            "goal_pos": goal,
            "state": jnp.concatenate([position, board.astype(jnp.int32).reshape(-1)]),
            "goal_state": goal,
        }
        return state.replace(
            obs={"board": seen, "perception": position},
            success=reached,
            terminated=reached,
            truncated=fell,
            info=state.info | info,
        )


def _on_board(cell: Int[Array, "2"], factors: Mapping[str, Array]) -> Int[Array, "2"]:
    """The nearest cell of the board."""
    return jnp.clip(cell, 0, factors["board.size"] - 1).astype(jnp.int32)


def _cell(value: Any, name: str) -> Int[Array, "2"]:
    """Row and column as whole numbers; recorded ones may be floating point."""
    value = jnp.asarray(value)
    if value.shape != (2,):
        raise UserError(f"{name} must have 2 entries (row, column), got the shape {value.shape}")
    return value.astype(jnp.int32)


def _placed(physics: Physics, value: Any, factors: Mapping[str, Array]) -> Physics:
    """Physics with the agent, and with a whole state vector the ground too, as recorded."""
    value = jnp.asarray(value)
    cells = MAX_SIZE * MAX_SIZE
    if value.shape not in ((2,), (2 + cells,)):
        raise UserError(
            f"state must have 2 entries (row, column) or {2 + cells} (then the ground of {MAX_SIZE} x {MAX_SIZE} "
            f"cells), got the shape {value.shape}"
        )
    board = physics.board
    if value.shape != (2,):
        board = jnp.clip(value[2:], VOID, GRAVEL).astype(board.dtype).reshape(board.shape)
    return Physics(board=board, position=_on_board(_cell(value[:2], "state"), factors))
