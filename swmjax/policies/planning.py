"""Receding-horizon planning: plan, execute the first part of the plan, plan again from where that led."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import chex
import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int

from swmjax.planning import Plan, Solver, action_size, block_space, solve_batch


@dataclass(frozen=True)
class PlanConfig:
    """How plans are made and used; horizons count planner steps of `action_block` environment steps.

    Args:
        horizon: Planner steps per plan.
        receding_horizon: Planner steps that are executed before the next plan, at most `horizon`.
        action_block: Environment actions per planner step.
        warm_start: Start each plan from the rest of the one before.

    Raises:
        ValueError: A number is not a positive integer, or `receding_horizon` is above `horizon`.

    Source: reference, `policy.py` (`PlanConfig`).
    """

    horizon: int = 5
    receding_horizon: int = 5
    action_block: int = 5
    warm_start: bool = True

    def __post_init__(self) -> None:
        for name in ("horizon", "receding_horizon", "action_block"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"plan.{name} must be a positive integer, got {value!r}")
        if self.receding_horizon > self.horizon:
            raise ValueError(
                f"plan.receding_horizon ({self.receding_horizon}) must not be above plan.horizon ({self.horizon})"
            )
        if not isinstance(self.warm_start, bool):
            raise ValueError(f"plan.warm_start must be true or false, got {self.warm_start!r}")

    @property
    def steps_per_plan(self) -> int:
        """Environment steps between two plans."""
        return self.receding_horizon * self.action_block


@runtime_checkable
class PlanningTask(Protocol):
    """What a policy plans with: how environment states become problems, and what candidates cost.

    `goals` and `problems` work on a batch of B; `cost` on one problem and its candidates.
    """

    @property
    def space(self) -> Box:
        """Space of one planner action before blocking, in the units that the solver works in."""

    @property
    def problems_at_once(self) -> int | None:
        """Problems that are solved side by side; all if None."""

    def goals(self, states: Any) -> Any:
        """What to remember of B goal states for the whole episode."""

    def problems(self, states: Any, goals: Any) -> Any:
        """Planning problems of B current states; a pytree with a leading axis of B."""

    def cost(self, problem: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Costs of N candidates of one problem."""

    def to_env(self, actions: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """Environment actions of planned ones."""


@chex.dataclass(frozen=True)
class PlanCarry:
    """What the policy remembers between steps, for B episodes in lockstep.

    Attributes:
        step: Environment steps so far.
        queue: Planned environment actions since the last plan.
        rest: The planner steps of the last plan that will not be executed.
        seeds: Number of each episode; its plans draw from it alone.
        goals: What the task remembers of the goals.
    """

    step: Int[Array, ""]
    queue: Float[Array, "B S a"]
    rest: Float[Array, "B R A"]
    seeds: Int[Array, " B"]
    goals: Any


@dataclass(frozen=True)
class PlanningPolicy:
    """Model-predictive control with any solver and any task, for a batch of episodes that run in lockstep.

    Args:
        solver: Solver of the planning problems.
        task: States to problems, candidates to costs.
        config: Horizons and blocks.
    """

    solver: Solver
    task: PlanningTask
    config: PlanConfig

    def init(self, seeds: Int[Array, " B"], goal_states: Any) -> PlanCarry:
        """Memory before the first step.

        Args:
            seeds: Non-negative number of each episode.
            goal_states: Environment states that show the goals, batched.
        """
        space = block_space(self.task.space, self.config.action_block)
        batch, size = seeds.shape[0], action_size(space)
        action_dim = size // self.config.action_block
        return PlanCarry(
            step=jnp.zeros((), jnp.int32),
            queue=jnp.zeros((batch, self.config.steps_per_plan, action_dim), jnp.float32),
            rest=jnp.zeros((batch, self.config.horizon - self.config.receding_horizon, size), jnp.float32),
            seeds=seeds,
            goals=self.task.goals(goal_states),
        )

    def plan(self, carry: PlanCarry, states: Any) -> Plan:
        """Plan for every episode.

        Args:
            carry: Memory.
            states: Current environment states, batched.

        Returns:
            Plans in the task's units.
        """
        space = block_space(self.task.space, self.config.action_block)
        number = carry.step // self.config.steps_per_plan
        key = jax.random.fold_in(jax.random.key(0), number)
        warm = carry.rest if self.config.warm_start and carry.rest.shape[1] else None
        problems = self.task.problems(states, carry.goals)
        return solve_batch(
            self.solver,
            self.task.cost,
            problems,
            space,
            key,
            self.config.horizon,
            warm,
            carry.seeds,
            self.task.problems_at_once,
        )

    def act(self, carry: PlanCarry, states: Any) -> tuple[Float[Array, "B a"], PlanCarry]:
        """The next environment action of every episode; plans when the last plan is used up.

        Args:
            carry: Memory.
            states: Current environment states, batched.

        Returns:
            Actions, and the memory after.
        """
        position = carry.step % self.config.steps_per_plan

        def replan() -> tuple[Array, Array]:
            actions = self.plan(carry, states).actions
            now, rest = actions[:, : self.config.receding_horizon], actions[:, self.config.receding_horizon :]
            queue = self.task.to_env(now.reshape(carry.queue.shape))
            return queue.astype(carry.queue.dtype), rest.astype(carry.rest.dtype)

        queue, rest = jax.lax.cond(position == 0, replan, lambda: (carry.queue, carry.rest))
        action = jax.lax.dynamic_index_in_dim(queue, position, axis=1, keepdims=False)
        return action, carry.replace(step=carry.step + 1, queue=queue, rest=rest)
