"""Episodes of a limited length."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array

from envs_mjx.checks import check_count
from envs_mjx.state import State
from envs_mjx.wrappers.base import Wrapper


@dataclass(frozen=True)
class TimeLimit(Wrapper):
    """An environment whose episodes are truncated after some steps, where it does not end them earlier.

    Args:
        env: the environment inside.
        max_steps: steps after which an episode is truncated.

    Raises:
        UserError: `max_steps` is no integer of at least 1.
    """

    max_steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("TimeLimit.max_steps", self.max_steps)

    def _start(self, key: Array, factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        return self._limited(super()._start(key, factors, options))

    def _advance(self, state: State, action: Any) -> State:
        return self._limited(super()._advance(state, action))

    def _observed(self, state: State) -> State:
        return self._limited(super()._observed(state))

    def _limited(self, state: State) -> State:
        return state.replace(truncated=state.truncated | (state.step >= self.max_steps))
