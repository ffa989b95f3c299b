"""Model-predictive control with any solver, for a batch of episodes."""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from swmjax.planning import Plan, PlanConfig, Solver, Transitions, block_space, receding, solve_batch
from swmjax.planning.receding import PlanCarry
from swmjax.policies.base import Observations, Policy, check_seeds, zeros_of


class MPCPolicy(Policy):
    """Plan, execute the first part of the plan, plan again from there; a subclass says what is planned with.

    Attributes:
        solver: Solver of the planning problems.
        config: Horizons and blocks.
        plan_batch_size: Problems that are encoded and solved side by side, the others after them; all if None.
            Groups in which no episode needs a plan cost nothing.
    """

    solver: Solver
    config: PlanConfig
    plan_batch_size: int | None

    @property
    @abc.abstractmethod
    def space(self) -> gymnasium.Space:
        """Space of one planner action before blocking, in the units that the solver works in."""

    @abc.abstractmethod
    def goals(self, obs: Observations) -> Any:
        """What to remember of the goals for the whole episode."""

    @abc.abstractmethod
    def seen(self, obs: Observations) -> Any:
        """What problems are made of: a pytree with a leading axis of B."""

    @abc.abstractmethod
    def problems(self, observations: Any, actions: Shaped[Array, "B Th A"], goals: Any) -> Any:
        """Planning problems, a pytree with a leading axis of B.

        Args:
            observations: Th + 1 observations of each row, with leaves [B, Th + 1, ...], the current one last.
            actions: The planner actions between them.
            goals: What `goals` gave.
        """

    @abc.abstractmethod
    def cost(self, problem: Any, actions: Any) -> Float[Array, " N"]:
        """Costs of N candidates of one problem."""

    @abc.abstractmethod
    def to_env(self, actions: Shaped[Array, "*batch a"]) -> Shaped[Array, "..."]:
        """Environment actions of planned ones."""

    @property
    def transitions(self) -> Callable[[Any], Transitions] | None:
        """One problem to the single steps of the model; None if it has none."""
        return None

    def init(self, seeds: Int[Array, " B"], obs: Observations) -> PlanCarry:
        """Memory before the first step: no plan yet."""
        check_seeds(seeds)
        observations = None
        if self.config.history_len > 1:
            observations = jax.eval_shape(self.seen, obs)
        return receding.start(self.config, self.space, seeds, observations, self.goals(obs))

    def act(
        self, carry: PlanCarry, obs: Observations, alive: Bool[Array, " B"]
    ) -> tuple[Shaped[Array, "B ..."], PlanCarry]:
        """The next environment action of every episode; plans where the last plan is used up."""
        if carry.history is not None:
            carry = receding.remember(self.config, carry, self.seen(obs))
        actions, carry = receding.act(self.config, carry, partial(self.plan, carry, obs), alive)
        return self.to_env(actions), carry

    def looks(self, carry: PlanCarry, alive: Bool[Array, " B"]) -> Bool[Array, ""]:
        """Whether any episode plans now, or a history is kept."""
        if carry.history is not None:
            return alive.any()
        return receding.needs_plan(self.config, carry, alive).any()

    def reset(self, carry: PlanCarry, rows: Bool[Array, " B"]) -> PlanCarry:
        """Forget plan and history of episodes that have begun anew; the goals stay."""
        return receding.flush(self.config, carry, rows)

    def tally(self, carry: PlanCarry) -> dict[str, Int[Array, " B"]]:
        """Plans, and those of them in which no candidate had a finite cost."""
        return {"plans": carry.plans, "failed_plans": carry.failed}

    def plan(
        self, carry: PlanCarry, obs: Observations, needed: Bool[Array, " B"] | None = None, length: int = 1
    ) -> Plan:
        """Plan for every episode.

        Args:
            carry: Memory; a history that already holds the current observation.
            obs: Current observations.
            needed: Episodes that need a plan; those of the others mean nothing. All if None.
            length: Observations that plans start from, 1 to `history_len`.

        Returns:
            Plans in the solver's units.
        """
        if carry.history is None:
            observations = jax.tree.map(lambda leaf: leaf[:, None], self.seen(obs))
            actions = jnp.zeros((carry.seeds.shape[0], 0, carry.tail.shape[-1]), carry.tail.dtype)
        else:
            observations, actions = receding.context(self.config, carry.history, length)
        warm = carry.tail if self.config.warm_start and carry.tail.shape[1] else None
        space = block_space(self.space, self.config.action_block)

        def key(number: Array, seed: Array) -> Array:
            return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), number), seed)

        def solved(rows: Any) -> Plan:
            observations, actions, goals, keys, warm = rows
            problems = self.problems(observations, actions, goals)
            return solve_batch(
                self.solver,
                self.cost,
                problems,
                space,
                keys,
                self.config.horizon,
                warm,
                transitions=self.transitions,
            )

        rows = observations, actions, carry.goals, jax.vmap(key)(carry.plans, carry.seeds), warm
        return self.in_groups(solved, rows, needed)

    def in_groups(self, function: Callable[[Any], Any], rows: Any, needed: Bool[Array, " B"] | None = None) -> Any:
        """A batched function of `plan_batch_size` rows at a time.

        Args:
            function: From a batch of rows to a pytree with the same leading axis.
            rows: Pytree with a leading axis of B.
            needed: Rows whose results are used; groups without one are skipped and come out as zeros. All if None.
        """
        size = self.plan_batch_size
        if size is None:
            return function(rows)
        count = jax.tree.leaves(rows)[0].shape[0]
        groups = -(-count // size)
        index = jnp.minimum(jnp.arange(groups * size), count - 1).reshape(groups, size)

        def one(index: Array) -> Any:
            group = jax.tree.map(lambda leaf: leaf[index], rows)
            if needed is None:
                return function(group)
            return jax.lax.cond(needed[index].any(), traced, partial(zeros_of, traced), group)

        traced = jax.jit(function, inline=True)  # once, though its shapes are asked for as well
        out = jax.lax.map(one, index)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], out)
