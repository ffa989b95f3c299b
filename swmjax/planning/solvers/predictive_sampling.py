"""Predictive sampling: keep the best of some noisy candidates."""

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
    clipped,
    cost_dtype,
    finite_or_last,
    status_of,
)
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord


@chex.dataclass(frozen=True)
class PredictiveSamplingState:
    """The best action sequence so far.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        nominal: Best sequence so far, in action units; the warm start before the first step.
        cost: Its cost; inf before a finite one was found.
        bounds: Lowest and highest action when candidates are clipped, else None.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    nominal: Float[Array, "H A"]
    cost: Float[Array, ""]
    bounds: Float[Array, "2 A"] | None = None


@dataclass(frozen=True)
class PredictiveSamplingSolver(PopulationSolver):
    """Predictive sampling: add noise to the warm start and take the best candidate.

    The first candidate is the nominal sequence itself, so that the plan is never worse than the warm start under the
    model. The plan's cost is its own.

    Differs from the reference: candidates whose cost is not finite are never taken; more than one round (`n_steps`) and
    `clip='bounds'` are options. As in the reference, the candidates are no splines.

    Args:
        num_samples: Candidates per step.
        noise_scale: Standard deviation of the noise, in action units.
        n_steps: Rounds, each around the best candidate of the round before; 1 as the reference.
        clip: 'none' as the reference, or 'bounds' to clip candidates to the action space.

    Raises:
        UserError: A hyperparameter is out of range.

    Source: Howell et al. 2022, "Predictive Sampling: Real-time Behaviour Synthesis with MuJoCo"; reference,
    `solver/predictive_sampling.py`.
    """

    num_samples: int = 300
    noise_scale: float = 1.0
    n_steps: int = 1
    clip: Literal["none", "bounds"] = "none"

    def __post_init__(self) -> None:
        check_integer("PredictiveSamplingSolver.num_samples", self.num_samples, 1)
        check_integer("PredictiveSamplingSolver.n_steps", self.n_steps, 1)
        check_nonnegative("PredictiveSamplingSolver.noise_scale", self.noise_scale)
        check_choice("PredictiveSamplingSolver.clip", self.clip, ("none", "bounds"))

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> PredictiveSamplingState:
        """The nominal sequence before the first step."""
        nominal = nominal_actions(space, horizon, warm_start)
        return PredictiveSamplingState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            nominal=nominal,
            cost=jnp.full((), jnp.inf, cost_dtype(nominal.dtype)),
            bounds=action_bounds(space, nominal.dtype) if self.clip == "bounds" else None,
        )

    def propose(self, state: PredictiveSamplingState) -> Float[Array, "N H A"]:
        """Noise around the nominal sequence, which is the first candidate."""
        nominal = state.nominal
        noise = self.sample_noise(state.key, state.step, (self.num_samples, *nominal.shape), nominal.dtype)
        return clipped((noise * self.noise_scale + nominal[None]).at[0].set(nominal), state.bounds)

    def update(
        self, state: PredictiveSamplingState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[PredictiveSamplingState, StepRecord]:
        """Take the best candidate."""
        costs = finite_or_last(costs)
        index = jnp.argmin(costs)
        found = jnp.isfinite(costs[index])
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            nominal=jnp.where(found, candidates[index], state.nominal),
            cost=jnp.where(found, costs[index].astype(state.cost.dtype), state.cost),
        )
        record = StepRecord(
            candidates=candidates,
            costs=costs,
            elites=index[None],
            mean_before=state.nominal,
            mean=after.nominal,
            std=jnp.full_like(state.nominal, self.noise_scale),
        )
        return after, record

    def finish(self, state: PredictiveSamplingState, scorer: Scorer) -> Plan:
        """The plan of a state: the best sequence found."""
        return Plan(actions=state.nominal, cost=state.cost, status=status_of(state.cost))
