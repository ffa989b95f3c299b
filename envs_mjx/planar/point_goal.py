"""What the environments share in which a point moves to a target."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from envs_mjx.checks import UserError
from envs_mjx.core import Env
from envs_mjx.planar.arena import SUCCESS_DISTANCE, length, point
from envs_mjx.state import State
from envs_mjx.state_bounds import StateBounds

Factors = Mapping[str, Array]


@dataclass(frozen=True)
class PointGoalEnv(Env):
    """A point that moves to a target.

    The physics, the state vector and the goal vector are x and y, of the agent and of the target. The task is solved,
    and the episode terminates, when the agent is closer to the target than a radius, at a reset as well. Nothing
    truncates. A subclass says how far a step leads, what is observed and how near is near enough.
    """

    target: ClassVar[str] = "target"
    """Group of the factors whose `position` is the target's."""
    reach: ClassVar[float] = 1.0
    """Largest action along an axis."""

    @abc.abstractmethod
    def _move(self, agent: Float[Array, "2"], action: Float[Array, "2"], factors: Factors) -> Float[Array, "2"]:
        """Where a step ends."""

    @abc.abstractmethod
    def _observe(self, agent: Float[Array, "2"], goal: Float[Array, "2"], factors: Factors) -> Float[Array, " O"]:
        """The vector `observation`."""

    def _radius(self, factors: Factors) -> float | Float[Array, ""]:
        """The distance below which the target is reached."""
        return SUCCESS_DISTANCE

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Step along x and y, in units of the agent's speed."""
        return gymnasium.spaces.Box(-self.reach, self.reach, (2,), np.float32)

    def state_bounds(self, size: int) -> StateBounds:
        """The arena as it is observed; starts may lie beyond where walls let the agent go."""
        if size != 2:
            return super().state_bounds(size)
        seen = self.observation_space["observation"]
        assert isinstance(seen, gymnasium.spaces.Box)
        return StateBounds.of(seen.low[:2], seen.high[:2], size)

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        """`options` may hold `state` (agent x, y) and `goal_state` or `target_state`, where known (target x, y).

        They may lie where the factors may not.
        """
        if "target_state" in options and "goal_state" in options:
            raise UserError("target_state and goal_state are two names of one option; give one of them")
        name = "target_state" if "target_state" in self.option_names else "goal_state"
        target = options.get("target_state", options.get("goal_state"))
        agent = factors["agent.position"] if "state" not in options else point(options["state"], "state")
        goal = factors[f"{self.target}.position"] if target is None else point(target, name)
        return self._first_state(agent, goal, factors, key, agent.dtype)

    def _advance(self, state: State, action: Float[Array, "2"]) -> State:
        moved = self._move(state.physics, action.astype(state.physics.dtype), state.factors)
        return self._observed(state.replace(physics=moved, step=state.step + 1))

    def _set_physics(self, state: State, value: Float[Array, "2"]) -> State:
        """The agent at x, y, wherever that is."""
        return state.replace(physics=point(value, "state"))

    def _observed(self, state: State) -> State:
        agent, goal = state.physics, state.goal
        distance = length(agent - goal)
        reached = distance < self._radius(state.factors)
        info = {"proprio": agent, "state": agent, "goal_state": goal, "distance_to_target": distance}
        return state.replace(
            obs={"observation": self._observe(agent, goal, state.factors)},
            success=reached,
            terminated=reached,
            truncated=jnp.asarray(False),
            info=state.info | info,
        )

    def _set_goal(self, state: State, goal: Float[Array, "2"]) -> State:
        """Put the target at x, y; the factor that placed it stays (the reference changes it too)."""
        return self._observed(state.replace(goal=point(goal, "goal_state")))

    def goal_from(self, state: State) -> Float[Array, "2"]:
        """The goal that a state reaches: the agent's own position."""
        return state.physics

    def distance(self, state: State) -> Float[Array, ""]:
        """Straight distance of the agent from the target, the test of success."""
        return length(state.physics - state.goal)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """Squared straight distance from the target; smooth, and blind to walls."""
        return ((state.physics - state.goal) ** 2).sum()
