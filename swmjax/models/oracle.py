"""The environment's own physics as a model: what a planner can reach when nothing has to be learned."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from envs_mjx.arguments import check_single
from envs_mjx.checks import UserError
from envs_mjx.state import State

StateCost = Callable[[Any], Float[Array, ""]]
"""State of one environment to a cost, for example its distance from the goal."""

_AT_ONCE = 2**30
"""Memory of rollouts at the same time, bytes."""


@runtime_checkable
class RollsOut(Protocol):
    """The part of an environment that the oracle needs; both members are pure."""

    @property
    def action_space(self) -> Any: ...

    def rollout(self, state: Any, actions: Any, keep: Callable[[Any], Any]) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class OracleModel:
    """Rolls candidates out in the environment itself.

    Args:
        env: An environment with a `rollout` as that of `envs_mjx.Env`, and an `action_space` of at most one axis.
            Candidates whose rollouts would take more than 1 GiB at once take turns.
    """

    env: RollsOut

    def rollout(self, state: Any, actions: Shaped[Array, "N H A"]) -> Any:
        """Final states of N candidate sequences.

        Args:
            state: State of one environment.
            actions: Planner actions in the environment's units; each is A / action_dim environment actions in a row
                (action_dim is 1 for a `Discrete` space).

        Returns:
            The state pytree, every leaf with a leading axis of N.

        Raises:
            UserError: A is no multiple of the environment's action size, or the state is a batch of them.
        """
        self._check(state)
        return self._run(state, actions, None)[0]

    def cost_fn(
        self, state: Any, objective: StateCost | None, running: StateCost | None = None
    ) -> Callable[[Shaped[Array, "N H A"]], Float[Array, " N"]]:
        """The cost function of planning from a state.

        Args:
            state: State of one environment.
            objective: Cost of one final state; None if only the way there counts.
            running: Cost of the state after each environment step, added up; None if only the final state counts.

        Returns:
            Candidates [N, H, A] to costs [N].

        Raises:
            UserError: Neither cost is given, or the state is a batch of them.
        """
        self._check(state)
        if objective is None and running is None:
            raise UserError("cost_fn needs objective (cost of the final state), running (cost of every step) or both")

        def costs(actions: Shaped[Array, "N H A"]) -> Float[Array, " N"]:
            final, passed = self._run(state, actions, running)
            if objective is None:
                return passed
            ends = jax.vmap(objective)(final)
            return ends if running is None else ends + passed

        return costs

    @staticmethod
    def _check(state: Any) -> None:
        if isinstance(state, State):
            check_single(state, "OracleModel", "solve_batch, or jax.vmap around the cost, plans for a batch")

    def _run(
        self, state: Any, actions: Shaped[Array, "N H A"], running: StateCost | None
    ) -> tuple[Any, Float[Array, " N"]]:
        """Final states of the candidates, and the sums of their running costs; 0 without one."""
        count, horizon, size = actions.shape
        shape = self.env.action_space.shape
        action_dim = math.prod(shape)
        if size % action_dim:
            raise UserError(
                f"planner actions must be blocks of environment actions of size {action_dim}, got size {size}"
            )
        steps = actions.reshape(count, horizon * (size // action_dim), *shape)

        keep = (lambda after: jnp.zeros(())) if running is None else running

        def run(sequence: Shaped[Array, "S ..."]) -> Any:
            final, costs = self.env.rollout(state, sequence, keep)
            return final, costs.sum()

        group = _AT_ONCE // max(getattr(self.env, "rollout_bytes", 0) * steps.shape[1], 1)
        return _in_turns(jax.vmap(run), steps, max(group, 1))


def _in_turns(function: Callable[[Array], Any], rows: Array, group: int) -> Any:
    """A function of a batch of rows, applied to so many rows at a time; `jax.lax.map` cannot return empty arrays."""
    count = len(rows)
    if count <= group:
        return function(rows)
    whole = count - count % group
    found = jax.lax.map(function, rows[:whole].reshape(-1, group, *rows.shape[1:]))
    found = jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), found)
    if whole == count:
        return found
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), found, function(rows[whole:]))
