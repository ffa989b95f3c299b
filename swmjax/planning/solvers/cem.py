"""The cross-entropy method."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import chex
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import check_choice, check_integer, check_nonnegative
from swmjax.planning.population import (
    PopulationSolver,
    action_bounds,
    best,
    clipped,
    cost_dtype,
    finite_or_last,
    status_of,
)
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord


@chex.dataclass(frozen=True)
class CEMState:
    """A diagonal Gaussian over action sequences.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        mean: Centre of the distribution, in action units.
        std: Standard deviation, in action units.
        cost: Mean elite cost of the last population with a finite cost; inf before that.
        bounds: Lowest and highest action when candidates are clipped, else None.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    mean: Float[Array, "H A"]
    std: Float[Array, "H A"]
    cost: Float[Array, ""]
    bounds: Float[Array, "2 A"] | None = None


@dataclass(frozen=True)
class CEMSolver(PopulationSolver):
    """Cross-entropy method: refit a Gaussian over action sequences to the best samples.

    The first candidate of every population is the mean. The plan is the final mean, and its cost is the mean elite
    cost of the last population, as in the reference: it was measured before the last refit.

    Differs from the reference: one elite gives a standard deviation of 0 instead of NaN; candidates whose cost is not
    finite rank last and never enter the refit; `clip='bounds'` is an option.

    Args:
        num_samples: Candidates per step.
        n_steps: Steps per solve.
        topk: Elites, at most num_samples.
        var_scale: Initial standard deviation (the reference's name, although it is no variance), in action units.
        clip: 'none' as the reference, or 'bounds' to clip candidates to the action space.

    Raises:
        UserError: A hyperparameter is out of range.

    Source: Rubinstein and Kroese 2004; reference, `solver/cem.py`.
    """

    num_samples: int = 300
    n_steps: int = 30
    topk: int = 30
    var_scale: float = 1.0
    clip: Literal["none", "bounds"] = "none"

    def __post_init__(self) -> None:
        check_integer("CEMSolver.num_samples", self.num_samples, 1)
        check_integer("CEMSolver.n_steps", self.n_steps, 1)
        check_integer("CEMSolver.topk", self.topk, 1, self.num_samples, "num_samples")
        check_nonnegative("CEMSolver.var_scale", self.var_scale)
        check_choice("CEMSolver.clip", self.clip, ("none", "bounds"))

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> CEMState:
        """The distribution before the first step."""
        mean = nominal_actions(space, horizon, warm_start)
        return CEMState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            mean=mean,
            std=jnp.full_like(mean, self.var_scale),
            cost=jnp.full((), jnp.inf, cost_dtype(mean.dtype)),
            bounds=action_bounds(space, mean.dtype) if self.clip == "bounds" else None,
        )

    def propose(self, state: CEMState) -> Float[Array, "N H A"]:
        """Samples; the first candidate is the mean."""
        mean = state.mean
        noise = self.sample_noise(state.key, state.step, (self.num_samples, *mean.shape), mean.dtype)
        return clipped((noise * state.std[None] + mean[None]).at[0].set(mean), state.bounds)

    def update(
        self, state: CEMState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[CEMState, StepRecord]:
        """Refit the distribution to the elites."""
        costs = finite_or_last(costs)
        elites = best(candidates, costs, self.topk)
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            mean=jnp.where(elites.found, elites.mean, state.mean),
            std=jnp.where(elites.found, elites.std, state.std),
            cost=jnp.where(elites.found, elites.cost.astype(state.cost.dtype), state.cost),
        )
        record = StepRecord(
            candidates=candidates,
            costs=costs,
            elites=elites.index,
            mean_before=state.mean,
            mean=after.mean,
            std=after.std,
        )
        return after, record

    def finish(self, state: CEMState, scorer: Scorer) -> Plan:
        """The plan of a state: its mean."""
        return Plan(actions=state.mean, cost=state.cost, status=status_of(state.cost))
