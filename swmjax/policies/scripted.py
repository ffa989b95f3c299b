"""The policies that environments bring, which see the simulator's state."""

from dataclasses import dataclass, field
from typing import Any

import jax
from jaxtyping import Array, Bool, Int, Shaped

from envs_mjx import Env
from swmjax.policies.base import DrawCarry, Observations, Policy, zeros_of


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScriptedPolicy(Policy):
    """What an environment's authors collect datasets with.

    Args:
        env: The environment.
        expert: Take its expert, which solves the task, instead of its behaviour policy.

    Raises:
        UserError: The environment has no such policy.
    """

    env: Env = field(metadata={"static": True})
    expert: bool = field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        zeros_of(lambda key: self._action(key, self.env.reset(key)), jax.random.key(0))

    def _action(self, key: Any, state: Any) -> Any:
        return self.env.expert_action(key, state) if self.expert else self.env.behaviour_action(key, state)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The simulator's state."""
        return ("env_state",)

    def init(self, seeds: Int[Array, " B"], obs: Observations) -> DrawCarry:
        """Memory before the first step."""
        return DrawCarry.start(seeds)

    def act(
        self, carry: DrawCarry, obs: Observations, alive: Bool[Array, " B"]
    ) -> tuple[Shaped[Array, "B ..."], DrawCarry]:
        """The next action of every episode."""
        keys, carry = carry.next()
        return jax.vmap(self._action)(keys, obs["env_state"]), carry

    def reset(self, carry: DrawCarry, rows: Bool[Array, " B"]) -> DrawCarry:
        """The same memory: nothing is kept of what has been seen."""
        return carry
