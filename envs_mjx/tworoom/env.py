"""The TwoRoom environment, `swm/TwoRoom-v1`: a dot finds its way through a door to a target.

Source: reference: envs/two_room/env.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import UserError, check_choice, check_flag
from envs_mjx.planar.arena import SIZE, SUCCESS_DISTANCE, length
from envs_mjx.planar.point_goal import Factors, PointGoalEnv
from envs_mjx.state import State
from envs_mjx.tworoom import dynamics, expert
from envs_mjx.tworoom.factors import (
    DEFAULT_VARIATIONS,
    MAX_DOORS,
    WALL_CENTER,
    clear_of_wall,
    fitting_doors,
    tworoom_variation_space,
)
from envs_mjx.tworoom.render import render_frame

_COLLISIONS = ("endpoint", "swept")


@dataclass(frozen=True)
class TwoRoom(PointGoalEnv):
    """Move a dot to a target, through a door if the target is in the other room.

    The observation `observation` [10] is agent x, y, target x, y and the centres x, y of three doors in px, zeros for
    unused doors. The state and goal vectors are agent x, y and target x, y. An action moves the agent by its
    speed, 5 px per unit by default. The reward is always 0. The episode terminates when the agent is closer than 16 px
    to the target, at a reset as well. Nothing truncates.

    Quirks of the reference that datasets depend on are kept: the target may be unreachable (inside the wall), legal
    starts lie beyond where the outer walls let the agent go, `wall.border_color` and `task.min_steps` are never read,
    a door lets the agent's centre pass whatever its radius, and only the end of a step is tested against the wall
    between the rooms. So an agent that leaves a door sideways inside the wall jumps to the face of its side, and
    one may cut a door's corner.

    Inside a room the dynamics are smooth, and gradients of rollouts are those of the formula; at walls they are
    one-sided, and the decision which wall stops a step has no gradient.

    Args:
        render_target: draw the target's dot (the factor `rendering.render_target` does too).
        collision: `endpoint`, the reference's test at the wall between the rooms; or `swept`, which follows the whole
            way of a step, so that nothing passes through the wall: the agent stops at the first contact and slides on.

    Raises:
        UserError: an argument of another kind or value.
    """

    option_names = ("state", "target_state", "goal_state")

    render_target: bool = False
    collision: str = "endpoint"

    def __post_init__(self) -> None:
        check_flag("render_target", self.render_target)
        check_choice("collision", self.collision, _COLLISIONS, show=str)

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Bounds of `observation`, px."""
        box = gymnasium.spaces.Box(0.0, float(SIZE), (4 + 2 * MAX_DOORS,), np.float32)
        return gymnasium.spaces.Dict({"observation": box})

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference."""
        return tworoom_variation_space()

    @property
    def inert_factors(self) -> tuple[str, ...]:
        """What the reference never reads."""
        return ("wall.border_color", "task.min_steps")

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Agent position and target position."""
        return DEFAULT_VARIATIONS

    def _move(self, agent: Float[Array, "2"], action: Float[Array, "2"], factors: Factors) -> Float[Array, "2"]:
        """One step at the agent's speed; stops at walls."""
        return dynamics.move(agent, action, factors, self.collision == "swept")

    def _observe(self, agent: Float[Array, "2"], goal: Float[Array, "2"], factors: Factors) -> Float[Array, "10"]:
        used = (jnp.arange(MAX_DOORS) < factors["door.number"])[:, None]
        doors = jnp.where(used, expert.door_centers(factors), 0.0)
        return jnp.concatenate([agent, goal, doors.reshape(-1)])

    def _check_factors(self, factors: Mapping[str, Array], given: Mapping[str, Array]) -> None:
        """Refuse explicit factors that put the agent into the wall or leave no door that fits."""
        _refuse_broken_constraints(factors, given)

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The reference's frame, 224 x 224."""
        return render_frame(state.physics, state.goal, state.factors, self.render_target)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """Squared length of the way to the target, through the best door if it is in the other room, in units of 16 px.

        Inside a room it is smooth.
        """
        agent, target, factors = state.physics, state.goal, state.factors
        doors = expert.door_centers(factors)
        detours = length(doors - agent[None, :]) + length(doors - target[None, :])
        detour = jnp.where(jnp.arange(MAX_DOORS) < factors["door.number"], detours, jnp.inf).min()
        straight = ((agent - target) ** 2).sum()
        squared = jnp.where(expert.other_room(agent, target, factors), detour**2, straight)
        return squared / SUCCESS_DISTANCE**2

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Float[Array, "2"]:
        """The expert with the noise that datasets are collected with, see `envs_mjx.tworoom.behaviour_action`."""
        return expert.behaviour_action(key, state)

    def expert_action(self, key: Key[Array, ""], state: State) -> Float[Array, "2"]:
        """Through the nearest door that fits, then to the target, see `envs_mjx.tworoom.expert_action`."""
        return expert.expert_action(key, state)


def _refuse_broken_constraints(factors: Mapping[str, Array], given: Mapping[str, Array]) -> None:
    """ValueError if explicit factors break a constraint; traced ones are not looked at."""
    agent = ("agent.position", "agent.radius", "wall.axis", "wall.thickness")
    doors = ("door.size", "door.number", "agent.radius")

    def concrete(names: Sequence[str]) -> bool:
        return not any(isinstance(factors[name], jax.core.Tracer) for name in names)

    if given.keys() & set(agent) and concrete(agent) and not bool(clear_of_wall(factors["agent.position"], factors)):
        raise UserError(
            f"agent.position {np.asarray(factors['agent.position']).tolist()} touches the wall between the rooms at "
            f"{WALL_CENTER} px (see wall.axis, wall.thickness, agent.radius); give another position or sample it"
        )
    if given.keys() & set(doors) and concrete(doors) and not bool(fitting_doors(factors["door.size"], factors).any()):
        raise UserError(
            f"door.size {np.asarray(factors['door.size']).tolist()}: none of the first door.number sizes is at least "
            f"1.1 times agent.radius ({float(factors['agent.radius'][0]):g} px)"
        )
