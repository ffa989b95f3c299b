"""Model-predictive control with any solver, for a batch of episodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from swmjax.planning import Plan, PlanConfig, Solver, Transitions, block_space, receding, solve_batch
from swmjax.planning.receding import PlanCarry


@runtime_checkable
class PlanningTask(Protocol):
    """What a policy plans with: how environment states become problems, and what candidates cost.

    `goals`, `observe` and `problems` work on a batch of B; `cost` on one problem and its candidates.
    """

    @property
    def space(self) -> gymnasium.Space:
        """Space of one planner action before blocking, in the units that the solver works in."""

    @property
    def problems_at_once(self) -> int | None:
        """Problems that are solved side by side; all if None."""

    def goals(self, states: Any) -> Any:
        """What to remember of B goal states for the whole episode."""

    def observe(self, states: Any) -> Any:
        """What problems are made of: a pytree with a leading axis of B."""

    def problems(self, observations: Any, actions: Shaped[Array, "B Th A"], goals: Any) -> Any:
        """Planning problems, a pytree with a leading axis of B.

        Args:
            observations: Th + 1 observations of each row, with leaves [B, Th + 1, ...], the current one last.
            actions: The planner actions between them.
            goals: What `goals` gave.
        """

    def cost(self, problem: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Costs of N candidates of one problem."""

    @property
    def transitions(self) -> Callable[[Any], Transitions] | None:
        """One problem to the single steps of the model; None if it has none."""

    def to_env(self, actions: Shaped[Array, "*batch a"]) -> Shaped[Array, "..."]:
        """Environment actions of planned ones."""


@dataclass(frozen=True)
class PlanningPolicy:
    """Model-predictive control with any solver and any task.

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
        observations = None
        if self.config.history_len > 1:
            observations = jax.eval_shape(self.task.observe, goal_states)
        return receding.start(self.config, self.task.space, seeds, observations, self.task.goals(goal_states))

    def plan(self, carry: PlanCarry, states: Any, length: int = 1) -> Plan:
        """Plan for every episode.

        Args:
            carry: Memory; a history that already holds the current observation.
            states: Current environment states, batched.
            length: Observations that plans start from, 1 to `history_len`.

        Returns:
            Plans in the task's units.
        """
        space = block_space(self.task.space, self.config.action_block)

        def one_key(number: Array, seed: Array) -> Array:
            return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), number), seed)

        if carry.history is None:
            observations = jax.tree.map(lambda leaf: leaf[:, None], self.task.observe(states))
            actions = jnp.zeros((carry.seeds.shape[0], 0, carry.rest.shape[-1]), carry.rest.dtype)
        else:
            observations, actions = receding.context(self.config, carry.history, length)
        return solve_batch(
            self.solver,
            self.task.cost,
            self.task.problems(observations, actions, carry.goals),
            space,
            jax.vmap(one_key)(carry.plans, carry.seeds),
            self.config.horizon,
            carry.rest if self.config.warm_start and carry.rest.shape[1] else None,
            transitions=self.task.transitions,
            batch_size=self.task.problems_at_once,
        )

    def act(
        self, carry: PlanCarry, states: Any, alive: Bool[Array, " B"] | None = None
    ) -> tuple[Shaped[Array, "B ..."], PlanCarry]:
        """The next environment action of every episode; plans where the last plan is used up.

        Args:
            carry: Memory.
            states: Current environment states, batched.
            alive: Episodes that go on; the others never plan. All if not given.

        Returns:
            Actions, and the memory after.
        """
        if carry.history is not None:
            carry = receding.remember(self.config, carry, self.task.observe(states))
        actions, carry = receding.act(self.config, carry, lambda length: self.plan(carry, states, length), alive)
        return self.task.to_env(actions), carry

    def flush(self, carry: PlanCarry, rows: Bool[Array, " B"]) -> PlanCarry:
        """Forget plan and history of episodes that were reset.

        Args:
            carry: Memory.
            rows: Which episodes.
        """
        return receding.flush(self.config, carry, rows)
