"""Searches that run on the host: the cost function is compiled, the search is not."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from envs_mjx.checks import UserError
from swmjax.planning.metrics import Metric, trace_row
from swmjax.planning.population import cost_dtype, finite_or_last, finite_stand_ins, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Kind, Plan, Problem, StepRecord


@runtime_checkable
class Search(Protocol):
    """The search for one problem; it changes as it goes."""

    def ask(self) -> np.ndarray:
        """Candidates [N, H, A]."""
        ...

    def tell(self, costs: np.ndarray) -> None:
        """Costs [N] of what was asked last, all finite."""
        ...


class HostSolver(ABC):
    """A solver whose search is host code: `solve` and `solve_batch` work, but not inside `jit`, `vmap` or `scan`.

    Every problem has its own search; all populations of a step are scored by one compiled call. The plan is the best
    candidate of all steps, with its own cost.
    """

    kind: ClassVar[Kind] = "search"

    n_steps: int

    @abstractmethod
    def start(self, key: Key[Array, ""], space: gymnasium.Space, nominal: np.ndarray) -> Search:
        """The search for one problem.

        Args:
            key: Typed key of this problem.
            space: Action space of one planner step.
            nominal: The warm start [H, A], followed by zeros.
        """

    def solve_host(
        self,
        scorer: Scorer,
        space: gymnasium.Space,
        key: Key[Array, ""],
        horizon: int,
        warm_start: Any = None,
        metrics: tuple[Metric, ...] = (),
        on_step: Callable[[Any, dict[str, Any]], None] | None = None,
    ) -> Plan:
        """Plan for one problem.

        Args:
            scorer: The cost function.
            space: Action space of one planner step.
            key: Typed key of this problem.
            horizon: H, planner steps.
            warm_start: The first W <= H actions.
            metrics: What the trace keeps of every step.
            on_step: Called after each step with its number and metrics.

        Returns:
            The plan with its trace.

        Raises:
            UserError: It is called inside a transformation, or the horizon or the warm start does not fit.
        """
        self._check_outside((key, warm_start))
        # A function of its own, so that its program goes when the solve is over.
        score = jax.jit(lambda candidates: scorer(candidates[0])[None])
        nominal = nominal_actions(space, horizon, warm_start)
        listen = None if on_step is None else lambda step, rows: on_step(step, {k: v[0] for k, v in rows.items()})
        plan = self._solve(score, space, key[None], nominal[None], metrics, listen)
        return jax.tree.map(lambda leaf: leaf[0], plan)

    def solve_host_batch(
        self,
        cost_fn: Callable[[Problem, Any], Float[Array, " N"]],
        problems: Problem,
        space: gymnasium.Space,
        keys: Key[Array, " B"],
        horizon: int,
        warm_start: Any = None,
        metrics: tuple[Metric, ...] = (),
        candidate_chunk: int | None = None,
    ) -> Plan:
        """Plan for many problems side by side; later calls with the same cost function use the same program.

        Args:
            cost_fn: One problem and its candidates [N, H, A] to costs [N]; hashable.
            problems: A pytree whose leaves have a leading axis of B problems.
            space: Action space of one planner step.
            keys: The key of every problem.
            horizon: H, planner steps.
            warm_start: The first W <= H actions of every problem.
            metrics: What the trace keeps of every step.
            candidate_chunk: Candidates of one problem scored at once; all if not given.

        Returns:
            Plans, every field with a leading axis of B problems.

        Raises:
            UserError: It is called inside a transformation, or the horizon or a warm start does not fit.
        """
        self._check_outside((problems, keys, warm_start))
        count = keys.shape[0]
        starts = [None] * count if warm_start is None else jnp.asarray(warm_start)
        nominal = jnp.stack([nominal_actions(space, horizon, start) for start in starts])
        score = functools.partial(_scores, cost_fn, candidate_chunk, problems)
        return self._solve(score, space, keys, nominal, metrics, None)

    def _solve(
        self,
        score: Callable[[Any], Array],
        space: gymnasium.Space,
        keys: Array,
        nominal: Array,
        metrics: tuple[Metric, ...],
        listen: Callable[[Any, dict[str, Any]], None] | None,
    ) -> Plan:
        searches = [self.start(key, space, np.asarray(one, float)) for key, one in zip(keys, nominal, strict=True)]
        best, best_cost = nominal, jnp.full(len(searches), jnp.inf, cost_dtype(nominal.dtype))
        trace: list[dict[str, Array]] = []
        for step in range(self.n_steps):
            candidates = jnp.asarray(np.stack([search.ask() for search in searches]), nominal.dtype)
            costs = score(candidates)
            self._check_outside(costs)
            best, best_cost, told, row = _seen(metrics, candidates, costs, best, best_cost)
            for search, one in zip(searches, np.asarray(told, float), strict=True):
                search.tell(one)
            trace.append(row)
            if listen is not None:
                listen(np.asarray(step), jax.tree.map(np.asarray, row))
        return Plan(
            actions=best,
            cost=best_cost,
            status=jax.vmap(status_of)(best_cost),
            trace=jax.tree.map(lambda *rows: jnp.stack(rows, axis=1), *trace),
        )

    def _check_outside(self, values: Any) -> None:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
            raise UserError(
                f"{type(self).__name__} searches on the host and cannot be inside jit, vmap, grad or scan; "
                "call solve or solve_batch outside of them"
            )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _scores(cost_fn: Callable[..., Array], chunk: int | None, problems: Any, candidates: Array) -> Array:
    return jax.vmap(lambda problem, own: Scorer(functools.partial(cost_fn, problem), None, chunk)(own))(
        problems, candidates
    )


@functools.partial(jax.jit, static_argnums=0)
def _seen(
    metrics: tuple[Metric, ...], candidates: Array, costs: Array, best: Array, best_cost: Array
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """What one step of all problems leaves behind: the best so far, costs for the search, a row of the trace."""

    def one(candidates: Array, costs: Array, best: Array, best_cost: Array) -> Any:
        costs = finite_or_last(costs)
        index = jnp.argmin(costs)
        cost = costs[index].astype(best_cost.dtype)
        row = trace_row(metrics, StepRecord(candidates=candidates, costs=costs))
        best = jnp.where(cost < best_cost, candidates[index], best)
        return best, jnp.minimum(cost, best_cost), finite_stand_ins(costs), row

    return jax.vmap(one)(candidates, costs, best, best_cost)
