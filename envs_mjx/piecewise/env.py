"""The Piecewise environment, `swm/Piecewise-v0`: a dot finds its way to a target while zones push it.

Source: reference: envs/piecewise/piecewise_env.py.
"""

from dataclasses import dataclass
from functools import cached_property

import gymnasium
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import check_flag, check_whole
from envs_mjx.piecewise import dynamics, expert
from envs_mjx.piecewise.factors import DEFAULT_VARIATIONS, piecewise_variation_space
from envs_mjx.piecewise.render import render_frame
from envs_mjx.planar.arena import SIZE, SUCCESS_DISTANCE
from envs_mjx.planar.point_goal import Factors, PointGoalEnv
from envs_mjx.state import State

_MAX_GRID = 14


@dataclass(frozen=True)
class Piecewise(PointGoalEnv):
    """Move a dot to a target through an open room whose zones, a square grid of them, each add a bias to every step.

    The observation `observation` [4] is agent x, y and target x, y in px. The state and goal vectors are agent x, y
    and target x, y. An action moves the agent by its speed, 5 px per unit by default; the bias of the zone in which
    the step begins is added. The reward is always 0. The episode terminates when the agent is closer than 16 px to the
    target, at a reset as well. Nothing truncates.

    Quirks of the reference that datasets depend on are kept: legal starts lie beyond where the walls let the agent
    go, and `task.min_steps` is never read. The arrows of `rendering.render_bias_field` are drawn by our own
    rasteriser and may differ from matplotlib's in the last units of their edges; all else is the reference's.

    Inside a zone the dynamics are smooth, and gradients of rollouts are those of the formula; at walls they are
    one-sided, and which zone pushes has no gradient.

    Args:
        render_target: draw the target's dot (the factor `rendering.render_target` does too).
        grid_n: zones along each side, 1 to 14 (of 14 px each).

    Raises:
        UserError: an argument of another kind or value.
    """

    option_names = ("state", "target_state", "goal_state")

    render_target: bool = False
    grid_n: int = 2

    def __post_init__(self) -> None:
        check_flag("render_target", self.render_target)
        check_whole("grid_n", self.grid_n, 1, _MAX_GRID)

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Bounds of `observation`, px."""
        return gymnasium.spaces.Dict({"observation": gymnasium.spaces.Box(0.0, float(SIZE), (4,), np.float32)})

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        return piecewise_variation_space(self.grid_n)

    @property
    def inert_factors(self) -> tuple[str, ...]:
        """What the reference never reads."""
        return ("task.min_steps",)

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Agent position and target position."""
        return DEFAULT_VARIATIONS

    def _move(self, agent: Float[Array, "2"], action: Float[Array, "2"], factors: Factors) -> Float[Array, "2"]:
        """One step at the agent's speed, pushed by the zone's bias; stops at walls."""
        return dynamics.move(agent, action, factors, self.grid_n)

    def _observe(self, agent: Float[Array, "2"], goal: Float[Array, "2"], factors: Factors) -> Float[Array, "4"]:
        return jnp.concatenate([agent, goal])

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The reference's frame, 224 x 224."""
        return render_frame(state.physics, state.goal, state.factors, self.render_target, self.grid_n)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """Squared distance from the target in units of 16 px; smooth."""
        return super().planning_cost(state) / SUCCESS_DISTANCE**2

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Float[Array, "2"]:
        """The expert with strong noise, see `envs_mjx.piecewise.behaviour_action`."""
        return expert.behaviour_action(key, state)

    def expert_action(self, key: Key[Array, ""], state: State) -> Float[Array, "2"]:
        """To the target, as far as it can reach, see `envs_mjx.piecewise.expert_action`."""
        return expert.expert_action(key, state)
