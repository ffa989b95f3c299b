"""What the classic-control environments share: factors, resets, goals, the time limit and the recolouring of frames.

Source: reference: envs/gymnasium_control/base.py around Gymnasium's classic-control environments.
"""

import abc
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8, UInt32

from envs_mjx import spaces
from envs_mjx.checks import UserError
from envs_mjx.classic.gfx import RGB, packed, unpack
from envs_mjx.core import Env
from envs_mjx.state import State
from envs_mjx.state_bounds import StateBounds

_MARGIN = 1.5
"""How much wider than observations states can be given; as much as the factors' largest speeds."""

Physical = Mapping[str, Float[Array, ""]]
"""The physical factors of one environment as scalars, by their names without `physics.`."""


@chex.dataclass(frozen=True)
class ControlPhysics:
    """What moves.

    Attributes:
        vector: the state vector, named by `ControlEnv.state_names`.
        memory: a number that an environment remembers besides, see its class; 0 after a reset.
    """

    vector: Float[Array, "*batch S"]
    memory: Float[Array, "*batch"]


@dataclass(frozen=True)
class ControlEnv(Env):
    """A classic-control environment: Gymnasium's dynamics, reward, observation and picture, with factors of variation.

    The observation `observation` and `info["state"]` are Gymnasium's float32 observation. (The reference's third entry
    of `info`, the name of the environment, is text, which an array program cannot hold.) Bounds of the spaces stay
    those of the default factors when a factor changes a limit. `truncated` is set from step `time_limit` on, by the
    time limit that Gymnasium registers and the reference keeps.

    Goals are this library's, as the reference has none here: a goal is a state vector, at first the natural one of the
    task, and it neither changes the reward nor ends an episode. State vectors come in the environment's own
    coordinates or, wherever one is given, as an observation, which is what datasets hold.

    Without x64 everything is float32, where Gymnasium has float64.

    `reset` understands in `options`: `low` and `high`, bounds of the uniform start as in Gymnasium; `state`, a state
    vector to start at instead; `goal_state`, a state vector as goal.
    """

    option_names = ("low", "high", "state", "goal_state")

    time_limit: ClassVar[int]
    state_names: ClassVar[tuple[str, ...]]
    scales: ClassVar[tuple[float, ...]]
    """Differences from the goal, by entry of the state vector, that count as 1 in `distance`."""
    angles: ClassVar[tuple[int, ...]] = ()
    """Entries of the state vector that are angles."""
    start_low: ClassVar[float]
    """Where the uniform start begins unless `low` says otherwise."""
    start_high: ClassVar[float]
    natural_goal: ClassVar[tuple[float, ...]]
    """The state vector that the task is about."""
    observation_low: ClassVar[tuple[float, ...]]
    observation_high: ClassVar[tuple[float, ...]]
    physical: ClassVar[tuple[tuple[str, float, float, float], ...]]
    """Name, smallest, initial and largest value of each physical factor."""
    visual: ClassVar[tuple[tuple[str, float, float, RGB], ...]]
    """Name, smallest and largest channel (0 to 1) and initial colour (levels, as Gymnasium draws it) of each colour."""
    swap_order: ClassVar[tuple[str, ...]]
    """The colours in the order of their replacement: a later one also replaces pixels that an earlier one has made."""

    @abc.abstractmethod
    def _move(
        self, physics: ControlPhysics, action: Array, factors: Physical
    ) -> tuple[ControlPhysics, Float[Array, ""]]:
        """The motion of one step and its reward."""

    @abc.abstractmethod
    def _ended(self, vector: Float[Array, " S"]) -> Bool[Array, ""]:
        """Whether Gymnasium ends the episode in this state."""

    @property
    def reaches_goals(self) -> bool:
        """No: an episode ends by Gymnasium's rule, whatever the goal is."""
        return False

    def _solved(self, vector: Float[Array, " S"]) -> Bool[Array, ""]:
        """Whether the task is solved, which is when the episode ends unless it ends in failure."""
        return self._ended(vector)

    @abc.abstractmethod
    def _draw(self, physics: ControlPhysics, factors: Physical) -> UInt32[Array, "height width"]:
        """Gymnasium's picture upside down, before the recolouring."""

    def _observe(self, vector: Float[Array, " S"]) -> Float[Array, " O"]:
        """The observation of a state vector."""
        return vector

    def _recognise(self, observation: Float[Array, " O"]) -> Float[Array, " S"]:
        """The state vector that shows as this observation."""
        return observation

    def _first(self, key: Key[Array, ""], options: Mapping[str, Any], dtype: Any) -> Float[Array, " S"]:
        """The start of an episode: every entry uniform between `low` and `high`."""
        return jax.random.uniform(key, (len(self.state_names),), dtype, *self._start_bounds(options))

    def _check_start(self, sampled: Set[str], given: Mapping[str, Array], options: Mapping[str, Any]) -> None:
        """Refuse bounds of the start in the wrong order.

        Raises:
            UserError: names the options.
        """
        if "low" in self.option_names:
            self._start_bounds(options)

    def _start_bounds(self, options: Mapping[str, Any]) -> tuple[Any, Any]:
        """The options `low` and `high`, or their defaults.

        Raises:
            UserError: not a single number, or concrete bounds in the wrong order.
        """
        bounds = {"low": options.get("low", self.start_low), "high": options.get("high", self.start_high)}
        for name, value in bounds.items():
            if np.shape(value) != ():
                raise UserError(f"option {name} must be a single number, got the shape {np.shape(value)}")
        low, high = bounds.values()
        if not isinstance(low, jax.core.Tracer) and not isinstance(high, jax.core.Tracer) and low > high:
            raise UserError(f"option low ({float(low):g}) must not exceed option high ({float(high):g})")
        return low, high

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Gymnasium's bounds, under `observation`."""
        low, high = (np.asarray(bound, np.float32) for bound in (self.observation_low, self.observation_high))
        return gymnasium.spaces.Dict({"observation": gymnasium.spaces.Box(low, high, dtype=np.float32)})

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The factors of variation of the reference: physics and colours (channels from 0 to 1)."""
        physics = {
            name: spaces.Box(low, high, (1,), np.float32, init_value=np.asarray([value], np.float32))
            for name, low, value, high in self.physical
        }
        visuals = {
            name: spaces.Box(low, high, (3,), np.float32, init_value=(np.asarray(color) / 255).astype(np.float32))
            for name, low, high, color in self.visual
        }
        return spaces.Dict({"physics": spaces.Dict(physics), "visuals": spaces.Dict(visuals)})

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def state_bounds(self, size: int) -> StateBounds:
        """The bounds of the observation, half as wide again, which the factors' largest speeds are; angles are free."""
        low, high = (_MARGIN * np.asarray(bound) for bound in (self.observation_low, self.observation_high))
        if size not in (len(self.state_names), len(low)):
            return super().state_bounds(size)
        if size == len(self.state_names):
            # What of a longer observation is no cosine or sine comes last, and so does what of a state is no angle.
            angle = self._is_angle()
            low, high = np.where(angle, -np.inf, low[-size:]), np.where(angle, np.inf, high[-size:])
        return StateBounds.of(low, high, size)

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        dtype = jnp.result_type(float)
        clash = sorted(set(options) - {"state", "goal_state"})
        if "state" in options and clash:
            raise UserError(f"option state says where to start, so {', '.join(clash)} must not be given besides")
        start_key, key = jax.random.split(key)
        if "state" in options:
            vector = self._vector(options["state"], "state", dtype)
        else:
            vector = self._first(start_key, options, dtype)
        goal = self._vector(options.get("goal_state", self.natural_goal), "goal_state", dtype)
        return self._first_state(_at(vector), goal, factors, key, dtype)

    def _advance(self, state: State, action: Array) -> State:
        physics, reward = self._move(state.physics, action, self._physical(state.factors, state.physics.vector.dtype))
        return self._observed(state.replace(physics=physics, reward=reward, step=state.step + 1))

    def expert_action(self, key: Key[Array, ""], state: State) -> Array:
        """A rule of thumb that solves the task; it looks at the state vector alone."""
        vector = state.physics.vector
        return self._steer(vector, self._physical(state.factors, vector.dtype))

    @abc.abstractmethod
    def _steer(self, vector: Float[Array, " S"], factors: Physical) -> Array:
        """The expert's action."""

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """Gymnasium's picture in the colours of the factors.

        As in the reference, pixels that have exactly a colour of Gymnasium's get the factor's; the blended ones at
        anti-aliased edges stay.
        """
        factors = self._physical(state.factors, state.physics.vector.dtype)
        picture = self._draw(jax.lax.stop_gradient(state.physics), factors)
        colors = {name: color for name, _, _, color in self.visual}
        for name in self.swap_order:
            levels = jnp.floor(jnp.clip(state.factors[f"visuals.{name}"], 0.0, 1.0) * 255.0 + 0.5)
            picture = jnp.where(picture == packed(colors[name]), packed(levels.astype(jnp.uint32)), picture)
        return unpack(picture)[::-1]

    def _set_physics(self, state: State, value: Float[Array, " S"]) -> State:
        """A state vector or an observation, as after a reset."""
        return state.replace(physics=_at(self._vector(value, "state", state.physics.vector.dtype)))

    def _set_goal(self, state: State, goal: Float[Array, " S"]) -> State:
        """Make a state vector, or the state that shows as an observation, the goal."""
        return state.replace(goal=self._vector(goal, "goal_state", state.physics.vector.dtype))

    def goal_from(self, state: State) -> Float[Array, " S"]:
        """The goal that a state reaches: its state vector."""
        return state.physics.vector

    def distance(self, state: State) -> Float[Array, ""]:
        """Length of the difference from the goal in units of `scales`; angles differ by at most pi."""
        difference = state.physics.vector - state.goal
        wrapped = jnp.arctan2(jnp.sin(difference), jnp.cos(difference))
        squares = self._scaled(jnp.where(self._is_angle(), wrapped, difference))
        # The root has an infinite slope at 0.
        positive = squares > 0
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """Squared difference from the goal in units of `scales`, of angles their chord; smooth everywhere."""
        difference = state.physics.vector - state.goal
        return self._scaled(jnp.where(self._is_angle(), 2.0 * jnp.sin(difference / 2.0), difference))

    def _is_angle(self) -> np.ndarray:
        return np.isin(np.arange(len(self.state_names)), self.angles)

    def _scaled(self, difference: Float[Array, " S"]) -> Float[Array, ""]:
        return ((difference / jnp.asarray(self.scales, difference.dtype)) ** 2).sum()

    def _physical(self, factors: Mapping[str, Array], dtype: Any) -> dict[str, Float[Array, ""]]:
        return {name: factors[f"physics.{name}"][0].astype(dtype) for name, *_ in self.physical}

    def _vector(self, value: Any, name: str, dtype: Any) -> Float[Array, " S"]:
        value = jnp.asarray(value, dtype)
        size, observed = len(self.state_names), len(self.observation_high)
        if value.shape == (size,):
            return value
        if value.shape == (observed,):
            return self._recognise(value)
        alternative = "" if observed == size else f" or be an observation of {observed}"
        raise UserError(
            f"{name} must have {size} entries ({', '.join(self.state_names)}){alternative}, got the shape {value.shape}"
        )

    def _observed(self, state: State) -> State:
        vector = state.physics.vector
        observation = self._observe(vector).astype(jnp.float32)
        return state.replace(
            obs={"observation": observation},
            success=self._solved(vector),
            terminated=self._ended(vector),
            truncated=state.step >= self.time_limit,
            info=state.info | {"state": observation},
        )


def _at(vector: Float[Array, " S"]) -> ControlPhysics:
    """A state vector, and nothing remembered."""
    return ControlPhysics(vector=vector, memory=jnp.zeros((), vector.dtype))
