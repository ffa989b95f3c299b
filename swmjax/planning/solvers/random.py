"""Random shooting."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_integer
from swmjax.planning.population import PopulationSolver, action_bounds, cost_dtype, finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord


@chex.dataclass(frozen=True)
class RandomState:
    """The best action sequence so far.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        start: The warm start, followed by zeros.
        given: Planner steps of the warm start, which are kept.
        bounds: Lowest and highest action.
        best: Best sequence so far; the warm start before the first step.
        cost: Its cost; inf before a finite one was found.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    start: Float[Array, "H A"]
    given: Int[Array, ""]
    bounds: Float[Array, "2 A"]
    best: Float[Array, "H A"]
    cost: Float[Array, ""]


@dataclass(frozen=True)
class RandomSolver(PopulationSolver):
    """Random shooting: draw evenly from the action space and take the best, the baseline.

    The warm start's actions are kept, the others drawn. With one sample, the default, it plans at random: what every
    solver has to beat. The plan's cost is its own.

    Differs from the reference: more than one sample is an option, and the cost of the plan is known. As in the
    reference, the actions are drawn in the units of the action space, which must be those that the model expects.

    Args:
        num_samples: Candidates per step; 1 as the reference.
        n_steps: Steps per solve; more of them need less memory than more samples.

    Raises:
        UserError: A hyperparameter is out of range.

    Source: reference, `solver/random.py` of its first releases.
    """

    num_samples: int = 1
    n_steps: int = 1

    def __post_init__(self) -> None:
        check_integer("RandomSolver.num_samples", self.num_samples, 1)
        check_integer("RandomSolver.n_steps", self.n_steps, 1)

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> RandomState:
        """The state before the first step.

        Raises:
            UserError: The space has no bounds.
        """
        start = nominal_actions(space, horizon, warm_start)
        if not np.isfinite([space.low, space.high]).all():
            raise UserError(f"RandomSolver draws evenly from the action space, which needs finite bounds, got {space}")
        return RandomState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            start=start,
            given=jnp.asarray(0 if warm_start is None else warm_start.shape[0], jnp.int32),
            bounds=action_bounds(space, start.dtype),
            best=start,
            cost=jnp.full((), jnp.inf, cost_dtype(start.dtype)),
        )

    def sample_noise(
        self, key: Key[Array, ""], step: Int[Array, ""], shape: tuple[int, ...], dtype: jax.typing.DTypeLike
    ) -> Float[Array, "N H A"]:
        """Numbers from 0 to 1."""
        return jax.random.uniform(jax.random.fold_in(key, step), shape, dtype)

    def propose(self, state: RandomState) -> Float[Array, "N H A"]:
        """Candidates that begin with the warm start."""
        start, (low, high) = state.start, state.bounds
        uniform = self.sample_noise(state.key, state.step, (self.num_samples, *start.shape), start.dtype)
        drawn = low[None, None] + uniform * (high - low)[None, None]
        given = jnp.arange(start.shape[0])[:, None] < state.given
        return jnp.where(given[None], start[None], drawn)

    def update(
        self, state: RandomState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[RandomState, StepRecord]:
        """Remember the best candidate."""
        costs = finite_or_last(costs)
        index = jnp.argmin(costs)
        better = costs[index].astype(state.cost.dtype) < state.cost
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            best=jnp.where(better, candidates[index], state.best),
            cost=jnp.minimum(costs[index].astype(state.cost.dtype), state.cost),
        )
        record = StepRecord(
            candidates=candidates, costs=costs, elites=index[None], mean_before=state.best, mean=after.best
        )
        return after, record

    def finish(self, state: RandomState, scorer: Scorer) -> Plan:
        """The plan of a state: the best sequence found."""
        return Plan(actions=state.best, cost=state.cost, status=status_of(state.cost))
