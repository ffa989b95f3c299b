"""The cross-entropy method for discrete actions."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_choice, check_integer, check_nonnegative
from swmjax.planning.population import PopulationSolver, best, cost_dtype, finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.simplex import Slots, nominal_probabilities, slots_of
from swmjax.planning.spaces import one_hot
from swmjax.planning.types import Plan, StepRecord


@chex.dataclass(frozen=True)
class CategoricalCEMState:
    """Independent categorical distributions, one for every slot of every planner step.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        probs: Probabilities, slot after slot.
        nominal: The warm start as one-hot vectors, followed by zeros.
        cost: Mean elite cost of the last population with a finite cost; inf before that.
        slots: The slots of the action space.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    probs: Float[Array, "H A"]
    nominal: Float[Array, "H A"]
    cost: Float[Array, ""]
    slots: Slots


@dataclass(frozen=True)
class CategoricalCEMSolver(PopulationSolver):
    """Categorical CEM: refit the probabilities of categories to the best samples.

    The first candidate of every population is the most probable one. The plan is the most probable sequence at the end;
    its cost is the mean elite cost of the last population, measured before the last refit.

    Differs from the reference: any `MultiDiscrete` space, with another number of categories in every slot, works (the
    reference has one `Discrete` action); candidates whose cost is not finite rank last and never enter the refit;
    `warm_start='smooth'` is an option. Without a finite cost the warm start comes back as the plan, followed by every
    slot's first category, even if the solver ignores it otherwise.

    Args:
        num_samples: Candidates per step.
        n_steps: Steps per solve.
        topk: Elites, at most num_samples.
        smoothing: Added to every frequency before they are normalised, so that no category dies out.
        alpha: Weight of the old probabilities in a refit, from 0 to 1.
        warm_start: 'ignore' as the reference, which starts every solve from even probabilities, or 'smooth' to start
            from the warm start's categories.
        warm_start_eps: Probability that a smooth warm start spreads evenly over all categories, from 0 to 1.

    Raises:
        UserError: A hyperparameter is out of range.

    Source: Rubinstein and Kroese 2004; reference, `solver/categorical_cem.py`.
    """

    actions = "discrete"

    num_samples: int = 300
    n_steps: int = 30
    topk: int = 30
    smoothing: float = 0.0
    alpha: float = 0.0
    warm_start: Literal["ignore", "smooth"] = "ignore"
    warm_start_eps: float = 0.05

    def __post_init__(self) -> None:
        check_integer("CategoricalCEMSolver.num_samples", self.num_samples, 1)
        check_integer("CategoricalCEMSolver.n_steps", self.n_steps, 1)
        check_integer("CategoricalCEMSolver.topk", self.topk, 1, self.num_samples, "num_samples")
        check_nonnegative("CategoricalCEMSolver.smoothing", self.smoothing)
        for name in ("alpha", "warm_start_eps"):
            check_nonnegative(f"CategoricalCEMSolver.{name}", getattr(self, name))
            if getattr(self, name) > 1:
                raise UserError(f"CategoricalCEMSolver.{name} must be at most 1, got {getattr(self, name)!r}")
        check_choice("CategoricalCEMSolver.warm_start", self.warm_start, ("ignore", "smooth"))

    def init(
        self,
        key: Key[Array, ""],
        space: gymnasium.Space,
        horizon: int,
        warm_start: Int[Array, "W slots"] | Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> CategoricalCEMState:
        """The distributions before the first step."""
        slots = slots_of(space)
        nominal = nominal_probabilities(slots, horizon, warm_start)
        probs = jnp.broadcast_to(1 / _categories(slots, nominal.dtype)[None], nominal.shape)
        if self.warm_start == "smooth" and warm_start is not None:
            given = jnp.arange(horizon)[:, None] < warm_start.shape[0]
            probs = jnp.where(given, self.warm_start_eps * probs + (1 - self.warm_start_eps) * nominal, probs)
        return CategoricalCEMState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            probs=probs,
            nominal=nominal,
            cost=jnp.full((), jnp.inf, cost_dtype(nominal.dtype)),
            slots=slots,
        )

    def sample_noise(
        self, key: Key[Array, ""], step: Int[Array, ""], shape: tuple[int, ...], dtype: jax.typing.DTypeLike
    ) -> Float[Array, "N H A"]:
        """Numbers from 0 to 1."""
        return jax.random.uniform(jax.random.fold_in(key, step), shape, dtype)

    def propose(self, state: CategoricalCEMState) -> Float[Array, "N H A"]:
        """Samples as one-hot vectors; the first candidate is the most probable."""
        probs, slots = state.probs.astype(cost_dtype(state.probs.dtype)), state.slots
        uniform = self.sample_noise(state.key, state.step, (self.num_samples, *probs.shape), probs.dtype)
        # The category with the highest log probability plus Gumbel noise is a sample; the reference's floors.
        gumbel = -jnp.log(-jnp.log(jnp.maximum(uniform, 1e-10)))
        indices = slots.decode(jnp.log(jnp.maximum(probs, 1e-10))[None] + gumbel)
        indices = indices.at[0].set(slots.decode(state.probs))
        return one_hot(indices, slots.space, state.probs.dtype)

    def update(
        self, state: CategoricalCEMState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[CategoricalCEMState, StepRecord]:
        """Refit the probabilities to the elites."""
        costs = finite_or_last(costs)
        elites = best(candidates, costs, self.topk)
        probs = elites.mean
        if self.smoothing > 0:
            probs = (probs + self.smoothing) / (1 + self.smoothing * _categories(state.slots, probs.dtype)[None])
        probs = self.alpha * state.probs + (1 - self.alpha) * probs
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            probs=jnp.where(elites.found, probs, state.probs),
            cost=jnp.where(elites.found, elites.cost.astype(state.cost.dtype), state.cost),
        )
        record = StepRecord(
            candidates=candidates,
            costs=costs,
            elites=elites.index,
            mean_before=state.probs,
            mean=after.probs,
        )
        return after, record

    def finish(self, state: CategoricalCEMState, scorer: Scorer) -> Plan:
        """The plan of a state: the most probable category of every slot."""
        heaviest = jnp.where(jnp.isfinite(state.cost), state.probs, state.nominal)
        return Plan(actions=state.slots.decode(heaviest), cost=state.cost, status=status_of(state.cost))


def _categories(slots: Slots, dtype: jax.typing.DTypeLike) -> Float[Array, " A"]:
    """For every category the number of categories of its slot."""
    return jnp.asarray(np.repeat(slots.counts, slots.counts), dtype)
