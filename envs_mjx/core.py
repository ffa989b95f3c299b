"""The contract of every environment: a frozen `Env` whose methods are pure functions of a `State`."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import chex
import gymnasium
from jaxtyping import Array, Bool, Float, Int, UInt8

from envs_mjx import spaces


@chex.dataclass(frozen=True)
class State:
    """Everything that changes in an environment, as one pytree of fixed structure and dtypes.

    Under `vmap` every leaf gains leading batch axes, so the shapes below are those of one environment.

    Attributes:
        physics: the environment's own pytree (positions, velocities, contact caches).
        obs: observation by name, contained in `Env.observation_space`.
        reward: scalar reward of the last step, 0 after a reset.
        terminated: scalar, whether the task ended (success, for goal tasks).
        truncated: scalar, whether the episode was cut.
        info: further arrays by name; the same names at reset and at every step.
        goal: the goal in the environment's own form, an array or a pytree.
        factors: value of every factor of variation by dotted name.
        key: typed random key; the only source of randomness.
        step: scalar int, steps since the reset.
    """

    physics: Any
    obs: dict[str, Array]
    reward: Float[Array, "*batch"]
    terminated: Bool[Array, "*batch"]
    truncated: Bool[Array, "*batch"]
    info: dict[str, Any]
    goal: Any
    factors: dict[str, Array]
    key: Array
    step: Int[Array, "*batch"]


@dataclass(frozen=True)
class Env(abc.ABC):
    """A functional environment.

    Subclasses are frozen dataclasses that hold hyperparameters only; they are hashable and therefore static under
    `jit`. All methods are pure and work under `jit`, `vmap` and `scan`.
    """

    @property
    @abc.abstractmethod
    def action_space(self) -> gymnasium.Space:
        """Space of one action."""

    @property
    @abc.abstractmethod
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Space of `State.obs`."""

    @property
    @abc.abstractmethod
    def variation_space(self) -> spaces.Dict:
        """Factors of variation with their bounds, defaults and sampling order."""

    @property
    @abc.abstractmethod
    def default_variation(self) -> tuple[str, ...]:
        """Names of the factors that `reset` samples when it is not told which."""

    def check_reset(self, variation: Sequence[str] | None, values: Mapping[str, Any] | None) -> None:  # noqa: B027
        """Refuse arguments of `reset` that this environment cannot serve; adapters call it before they compile.

        Raises:
            ValueError: names the factor and what is allowed.
        """

    @abc.abstractmethod
    def reset(
        self,
        key: Array,
        *,
        variation: Sequence[str] | None = None,
        values: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> State:
        """Start an episode; a function of its arguments alone.

        Args:
            key: typed random key.
            variation: dotted names of factors or groups to sample, `("all",)` for every factor, `()` for none;
                `default_variation` when None. The other factors take their initial values.
            values: explicit factor values by dotted name; they win over sampled ones.
            options: what else the environment understands, for instance `state` and `goal_state`.

        Returns:
            The first state, with step 0 and reward 0.

        Raises:
            ValueError: unknown factor or option name, or a concrete value outside its space.
        """

    @abc.abstractmethod
    def step(self, state: State, action: Array) -> State:
        """Advance by one control step; `action` has the shape of `action_space`."""

    @abc.abstractmethod
    def render(self, state: State) -> UInt8[Array, "height width 3"]:
        """Image of the state, RGB, 0 to 255."""

    @abc.abstractmethod
    def set_state(self, state: State, value: Array) -> State:
        """Move the environment to a recorded state vector; factors, goal and key stay."""

    @abc.abstractmethod
    def set_goal(self, state: State, goal: Array) -> State:
        """Replace the goal; physics and factors stay."""

    @abc.abstractmethod
    def goal_from(self, state: State) -> Array:
        """The goal that a state reaches, as `set_goal` takes it."""

    @abc.abstractmethod
    def distance(self, state: State) -> Float[Array, ""]:
        """Distance from the goal in the environment's own unit (px for 2-D environments)."""

    @abc.abstractmethod
    def planning_cost(self, state: State) -> Float[Array, ""]:
        """What a planner through the environment's physics should minimise; 0 exactly at the goal."""

    @abc.abstractmethod
    def weak_action(self, key: Array, state: State) -> Array:
        """An action of the policy that reachable goals are made with."""
