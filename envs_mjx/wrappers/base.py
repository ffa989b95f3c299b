"""An environment around another one, to which it leaves everything that it does not change."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
from jaxtyping import Array, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import UserError
from envs_mjx.core import Env
from envs_mjx.state import State
from envs_mjx.state_bounds import StateBounds


@dataclass(frozen=True)
class Wrapper(Env):
    """An environment around `env`; a subclass changes what it wants to.

    Args:
        env: the environment inside.

    Raises:
        UserError: `env` is no environment, or one that must stay outside.
    """

    env: Env

    outermost: ClassVar[bool] = False
    """Whether no other wrapper may be put around this one."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not isinstance(self.env, Env):
            raise UserError(f"{name}.env must be an environment, got {self.env!r}")
        if isinstance(self.env, Wrapper) and self.env.outermost:
            inner = type(self.env).__name__
            raise UserError(f"{inner} must be the outermost wrapper: write {inner}({name}(...)), not the reverse")

    @property
    def option_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the environment inside."""
        return self.env.option_names

    @property
    def action_space(self) -> gymnasium.Space:
        """That of the environment inside."""
        return self.env.action_space

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """That of the environment inside."""
        return self.env.observation_space

    @property
    def variation_space(self) -> spaces.Dict:
        """That of the environment inside."""
        return self.env.variation_space

    @property
    def default_variation(self) -> tuple[str, ...]:
        """That of the environment inside."""
        return self.env.default_variation

    @property
    def inert_factors(self) -> tuple[str, ...]:
        """Those of the environment inside."""
        return self.env.inert_factors

    @property
    def has_success(self) -> bool:
        """As the environment inside."""
        return self.env.has_success

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of the environment inside."""
        return self.env.remarks

    @property
    def reaches_goals(self) -> bool:
        """As the environment inside."""
        return self.env.reaches_goals

    def _check_start(self, sampled: Set[str], given: Mapping[str, Array], options: Mapping[str, Any]) -> None:
        self.env._check_start(sampled, given, options)

    def _check_factors(self, factors: Mapping[str, Array], given: Mapping[str, Array]) -> None:
        self.env._check_factors(factors, given)

    def _start(self, key: Array, factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        return self.env._start(key, factors, options)

    def _advance(self, state: State, action: Any) -> State:
        return self.env._advance(state, action)

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        return self.env._render(state)

    def _set_physics(self, state: State, value: Any) -> State:
        return self.env._set_physics(state, value)

    def _observed(self, state: State) -> State:
        return self.env._observed(state)

    def state_bounds(self, size: int) -> StateBounds:
        """Those of the environment inside."""
        return self.env.state_bounds(size)

    def _set_goal(self, state: State, goal: Any) -> State:
        return self.env._set_goal(state, goal)

    def goal_from(self, state: State) -> Array:
        """As the environment inside."""
        return self.env.goal_from(state)

    def distance(self, state: State) -> Float[Array, ""]:
        """As the environment inside."""
        return self.env.distance(state)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """As the environment inside."""
        return self.env.planning_cost(state)

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Any:
        """As the environment inside."""
        return self.env.behaviour_action(key, state)
