"""Planning through an environment's own physics."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import jax
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Shaped

from swmjax.models import OracleModel
from swmjax.planning import PlanConfig, Solver, block_space
from swmjax.planning.spaces import from_one_hot
from swmjax.policies.base import Observations
from swmjax.policies.mpc import MPCPolicy
from swmjax.policies.rollout import ENV_STATE


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PhysicsPolicy(MPCPolicy):
    """Model-predictive control with the environment as the model: what a planner reaches when nothing is learned.

    Args:
        model: Oracle of the environment.
        solver: Solver of the planning problems.
        config: Horizons and blocks.
        state_cost: Cost of one final state; None if `running_cost` is all.
        running_cost: Cost of the state after each environment step, added up; None if only the final state counts.
        plan_batch_size: See `MPCPolicy`. The result is the same to the bit: physics is arithmetic element by element.
    """

    model: OracleModel = field(metadata={"static": True})
    solver: Solver = field(metadata={"static": True})
    config: PlanConfig = field(metadata={"static": True})
    state_cost: Callable[[Any], Float[Array, ""]] | None = field(metadata={"static": True})
    running_cost: Callable[[Any], Float[Array, ""]] | None = field(default=None, metadata={"static": True})
    plan_batch_size: int | None = field(default=None, metadata={"static": True})

    @property
    def inputs(self) -> tuple[str, ...]:
        """The state of the environment, which knows its goal."""
        return (ENV_STATE,)

    @property
    def space(self) -> gymnasium.Space:
        """The environment's action space, a one-axis Box or a discrete one."""
        return self.model.env.action_space

    def goals(self, obs: Observations) -> None:
        """Nothing: every state knows its goal."""

    def seen(self, obs: Observations) -> Any:
        """The states themselves."""
        return obs[ENV_STATE]

    def problems(self, observations: Any, actions: Shaped[Array, "B Th A"], goals: None) -> Any:
        """The current states: physics needs no history."""
        return jax.tree.map(lambda leaf: leaf[:, -1], observations)

    def cost(self, problem: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Cost of the states that each candidate leads to; discrete candidates are one-hot vectors."""
        moves: Array = actions
        if not isinstance(self.space, Box):
            moves = from_one_hot(actions, block_space(self.space, self.config.action_block))
        return self.model.cost_fn(problem, self.state_cost, self.running_cost)(moves)

    def to_env(self, actions: Shaped[Array, "*batch a"]) -> Shaped[Array, "..."]:
        """The same actions, in the shape of the space: the solver works in the environment's units."""
        return actions.reshape(*actions.shape[:-1], *(self.space.shape or ()))
