"""Searches that run on the host: the cost function is compiled, the search is not."""

import dataclasses
import functools
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from envs_mjx.checks import UserError
from swmjax.planning.base import Listener, Solver
from swmjax.planning.metrics import Metric, trace_row
from swmjax.planning.population import cost_dtype, finite_or_last, finite_stand_ins, status_of
from swmjax.planning.scoring import BatchScorer, Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, Problem, StepRecord


@runtime_checkable
class Search(Protocol):
    """The search for one problem; it changes as it goes."""

    def ask(self) -> np.ndarray:
        """Candidates [N, H, A]."""
        ...

    def tell(self, costs: np.ndarray) -> None:
        """Costs [N] of what was asked last, all finite."""
        ...


@dataclass(frozen=True, eq=False)
class HostState:
    """The searches of B problems, and the best that each has found.

    Args:
        searches: One a problem.
        best: Best sequence so far; the warm start before the first step.
        cost: Its cost; inf before a finite one was found.
    """

    searches: tuple[Search, ...]
    best: Float[Array, "B H A"]
    cost: Float[Array, " B"]


class HostSolver(Solver):
    """A solver whose search is host code: `solve` and `solve_batch` work, but not inside `jit`, `vmap` or `scan`.

    Every problem has its own search; all populations of a step are scored by one compiled call. The plan is the best
    candidate of all steps, with its own cost.
    """

    @abstractmethod
    def start(self, key: Key[Array, ""], space: Any, nominal: np.ndarray) -> Search:
        """The search for one problem.

        Args:
            key: Typed key of this problem.
            space: Action space of one planner step.
            nominal: The warm start [H, A], followed by zeros.
        """

    def init(
        self, key: Key[Array, ""], space: Any, horizon: int, warm_start: Any = None, carry: Any = None
    ) -> HostState:
        """The search of one problem."""
        self._check_outside((key, warm_start))
        return self._started(space, key[None], nominal_actions(space, horizon, warm_start)[None])

    def step(self, state: HostState, scorer: Scorer) -> tuple[HostState, StepRecord]:
        """Ask the search of one problem for a population, score it and tell the costs."""
        candidates = self._asked(state)
        costs = scorer(candidates[0])
        after, _ = self._told((), state, candidates, costs[None])
        return after, StepRecord(candidates=candidates[0], costs=finite_or_last(costs))

    def finish(self, state: HostState, scorer: Scorer) -> Plan:
        """The best candidate of one problem."""
        return jax.tree.map(lambda leaf: leaf[0], _plans(state))

    def run(
        self,
        scorer: Scorer,
        space: Any,
        key: Key[Array, ""],
        horizon: int,
        warm_start: Any = None,
        carry: Any = None,
        metrics: tuple[Metric, ...] = (),
        on_step: Listener | None = None,
    ) -> Plan:
        """A whole solve of one problem, see `solve`.

        Raises:
            UserError: It is called inside a transformation, or the horizon or the warm start does not fit.
        """
        state = self.init(key, space, horizon, warm_start)
        # A function of its own, so that its program goes when the solve is over.
        score = jax.jit(lambda candidates: scorer(candidates[0])[None])
        listen = None if on_step is None else lambda step, rows: on_step(step, {k: v[0] for k, v in rows.items()})
        return jax.tree.map(lambda leaf: leaf[0], self._solved(state, score, metrics, listen))

    def run_batch(
        self,
        scorer: BatchScorer,
        problems: Problem,
        space: Any,
        keys: Key[Array, " B"],
        horizon: int,
        warm_start: Any = None,
        carry: Any = None,
        metrics: tuple[Metric, ...] = (),
        on_step: Listener | None = None,
        batch_size: int | None = None,
    ) -> Plan:
        """A whole solve of B problems side by side, see `solve_batch`; later calls with the same cost function use the
        same program.

        Raises:
            UserError: It is called inside a transformation, or the horizon or a warm start does not fit.
        """
        given = {"mesh": scorer.mesh, "batch_size": batch_size, "on_step": on_step}
        if refused := [name for name, value in given.items() if value is not None]:
            raise UserError(f"{type(self).__name__} plans for batches without {', '.join(refused)}")
        self._check_outside((problems, keys, warm_start))
        starts = [None] * keys.shape[0] if warm_start is None else jnp.asarray(warm_start)
        nominal = jnp.stack([nominal_actions(space, horizon, start) for start in starts])
        score = functools.partial(_scores, scorer, problems)
        return self._solved(self._started(space, keys, nominal), score, metrics, None)

    def _started(self, space: Any, keys: Array, nominal: Array) -> HostState:
        return HostState(
            searches=tuple(
                self.start(key, space, np.asarray(one, float)) for key, one in zip(keys, nominal, strict=True)
            ),
            best=nominal,
            cost=jnp.full(keys.shape[0], jnp.inf, cost_dtype(nominal.dtype)),
        )

    def _solved(
        self,
        state: HostState,
        score: Callable[[Any], Array],
        metrics: tuple[Metric, ...],
        listen: Callable[[Any, dict[str, Any]], None] | None,
    ) -> Plan:
        trace: list[dict[str, Array]] = []
        for step in range(self.n_steps):
            candidates = self._asked(state)
            state, row = self._told(metrics, state, candidates, score(candidates))
            trace.append(row)
            if listen is not None:
                listen(np.asarray(step), jax.tree.map(np.asarray, row))
        return _plans(state).replace(trace=jax.tree.map(lambda *rows: jnp.stack(rows, axis=1), *trace))

    def _asked(self, state: HostState) -> Array:
        return jnp.asarray(np.stack([search.ask() for search in state.searches]), state.best.dtype)

    def _told(
        self, metrics: tuple[Metric, ...], state: HostState, candidates: Array, costs: Array
    ) -> tuple[HostState, dict[str, Array]]:
        self._check_outside(costs)
        best, cost, told, row = _seen(metrics, candidates, costs, state.best, state.cost)
        for search, one in zip(state.searches, np.asarray(told, float), strict=True):
            search.tell(one)
        return dataclasses.replace(state, best=best, cost=cost), row

    def _check_outside(self, values: Any) -> None:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
            raise UserError(
                f"{type(self).__name__} searches on the host and cannot be inside jit, vmap, grad or scan; "
                "call solve or solve_batch outside of them"
            )


def _plans(state: HostState) -> Plan:
    return Plan(actions=state.best, cost=state.cost, status=jax.vmap(status_of)(state.cost))


@functools.partial(jax.jit, static_argnums=0)
def _scores(scorer: BatchScorer, problems: Any, candidates: Array) -> Array:
    return jax.vmap(lambda problem, own: scorer.of(problem)(own))(problems, candidates)


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
