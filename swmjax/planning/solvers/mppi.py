"""Model predictive path integral control."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_choice, check_integer, check_nonnegative
from swmjax.planning.population import (
    PopulationSolver,
    action_bounds,
    clipped,
    cost_dtype,
    finite_or_last,
    status_of,
)
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord


@chex.dataclass(frozen=True)
class MPPIState:
    """The nominal action sequence.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        mean: Nominal sequence, in action units.
        cost: Mean cost of the weighted candidates of the last population with a finite cost; inf before that.
        bounds: Lowest and highest action when candidates are clipped, else None.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    mean: Float[Array, "H A"]
    cost: Float[Array, ""]
    bounds: Float[Array, "2 A"] | None = None


@dataclass(frozen=True)
class MPPISolver(PopulationSolver):
    """Path integral control: average noisy candidates, weighted by exp(-cost / temperature).

    The first candidate of every population is the mean, the spread stays what it is. The plan is the final mean; its
    cost is the plain mean of the costs of the last candidates that had a weight, as in the reference.

    Differs from the reference: candidates whose cost is not finite have no weight; `clip='bounds'` is an option. As in
    the reference, there is no control cost and the temperature is on the scale of the cost.

    Args:
        num_samples: Candidates per step.
        n_steps: Steps per solve.
        topk: How many of the best candidates have a weight, at most num_samples; None for all of them.
        var_scale: Standard deviation of the noise (the reference's name, although it is no variance), in action units.
        temperature: Cost difference by which a weight falls to 1/e, above 0.
        clip: 'none' as the reference, or 'bounds' to clip candidates to the action space.

    Raises:
        UserError: A hyperparameter is out of range.

    Source: Williams et al. 2017; reference, `solver/mppi.py`.
    """

    num_samples: int = 300
    n_steps: int = 30
    topk: int | None = 30
    var_scale: float = 1.0
    temperature: float = 0.5
    clip: Literal["none", "bounds"] = "none"

    def __post_init__(self) -> None:
        check_integer("MPPISolver.num_samples", self.num_samples, 1)
        check_integer("MPPISolver.n_steps", self.n_steps, 1)
        if self.topk is not None:
            check_integer("MPPISolver.topk", self.topk, 1, self.num_samples, "num_samples")
        check_nonnegative("MPPISolver.var_scale", self.var_scale)
        check_nonnegative("MPPISolver.temperature", self.temperature)
        if self.temperature == 0:
            raise UserError(
                "MPPISolver.temperature must be above 0; use PredictiveSamplingSolver for the best candidate"
            )
        check_choice("MPPISolver.clip", self.clip, ("none", "bounds"))

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> MPPIState:
        """The nominal sequence before the first step."""
        mean = nominal_actions(space, horizon, warm_start)
        return MPPIState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            mean=mean,
            cost=jnp.full((), jnp.inf, cost_dtype(mean.dtype)),
            bounds=action_bounds(space, mean.dtype) if self.clip == "bounds" else None,
        )

    def propose(self, state: MPPIState) -> Float[Array, "N H A"]:
        """Noise around the nominal sequence, which is the first candidate."""
        mean = state.mean
        noise = self.sample_noise(state.key, state.step, (self.num_samples, *mean.shape), mean.dtype)
        return clipped((noise * self.var_scale + mean[None]).at[0].set(mean), state.bounds)

    def update(
        self, state: MPPIState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[MPPIState, StepRecord]:
        """Move the nominal sequence to the weighted mean."""
        costs = finite_or_last(costs)
        count = self.num_samples if self.topk is None else self.topk
        negated, index = jax.lax.top_k(-costs, count)
        finite = jnp.isfinite(negated)
        found = finite[0]
        # Differences to the best cost in the type of the costs; the weights are as exact as the candidates.
        weights = jax.nn.softmax(
            jnp.where(finite, negated - jnp.where(found, negated[0], 0), -jnp.inf) / self.temperature
        )
        mean = jnp.sum(weights.astype(state.mean.dtype)[:, None, None] * candidates[index], axis=0)
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            mean=jnp.where(found, mean, state.mean),
            cost=jnp.where(found, jnp.mean(-negated, where=finite).astype(state.cost.dtype), state.cost),
        )
        record = StepRecord(
            candidates=candidates,
            costs=costs,
            elites=index,
            mean_before=state.mean,
            mean=after.mean,
            std=jnp.full_like(state.mean, self.var_scale),
        )
        return after, record

    def finish(self, state: MPPIState, scorer: Scorer) -> Plan:
        """The plan of a state: its nominal sequence."""
        return Plan(actions=state.mean, cost=state.cost, status=status_of(state.cost))
