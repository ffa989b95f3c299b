"""The cross-entropy method."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import chex
import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from swmjax.planning.types import CostFn, Plan, Status, StepInfo, nominal_actions
from swmjax.planning.validation import check_choice, check_integer, check_nonnegative


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
class CEMSolver:
    """Cross-entropy method: sample, keep the elites, refit mean and standard deviation.

    The first candidate of every population is the mean. The elites' standard deviation is Bessel-corrected; with a
    single elite it is 0 (the reference gets NaN), so that one sampling step remains. Candidates whose cost is not
    finite rank last and never enter the refit. The plan is the final mean, and its cost is the mean elite cost of the
    last population, as in the reference: it was measured before the last refit.

    Args:
        num_samples: Candidates per step.
        n_steps: Steps per solve.
        topk: Elites, at most num_samples.
        var_scale: Initial standard deviation (the reference's name, although it is no variance), in action units.
        clip: 'none' as the reference, or 'bounds' to clip candidates to the action space.

    Raises:
        ValueError: A hyperparameter is out of range.

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
        self, key: Key[Array, ""], space: Box, horizon: int, warm_start: Float[Array, "W A"] | None = None
    ) -> CEMState:
        """The distribution before the first step.

        Args:
            key: Typed key of this problem.
            space: Action space of one planner step.
            horizon: H, planner steps.
            warm_start: The first W <= H actions of the initial mean; zeros follow.

        Returns:
            The initial state; its dtype is that of the warm start, or of the space.
        """
        mean = nominal_actions(space, horizon, warm_start)
        return CEMState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            mean=mean,
            std=jnp.full_like(mean, self.var_scale),
            cost=jnp.full((), jnp.inf, jnp.promote_types(mean.dtype, jnp.float32)),
            bounds=jnp.stack([jnp.asarray(space.low), jnp.asarray(space.high)]).astype(mean.dtype)
            if self.clip == "bounds"
            else None,
        )

    def sample_noise(
        self, key: Key[Array, ""], step: Int[Array, ""], shape: tuple[int, ...], dtype: jax.typing.DTypeLike
    ) -> Float[Array, "N H A"]:
        """Standard normal noise of one step: the only random draw of the solver, so tests can put in recorded noise.

        Args:
            key: Key of the problem.
            step: Number of the step, from 0.
            shape: (num_samples, H, A).
            dtype: Type of the noise.

        Returns:
            Noise of that shape.
        """
        return jax.random.normal(jax.random.fold_in(key, step), shape, dtype)

    def step(self, state: CEMState, cost_fn: CostFn) -> tuple[CEMState, StepInfo]:
        """Sample a population, score it and refit the distribution to its elites.

        Args:
            state: The distribution before.
            cost_fn: Candidates [N, H, A] to costs [N].

        Returns:
            The refitted distribution and what was seen on the way.
        """
        mean, dtype = state.mean, state.mean.dtype
        noise = self.sample_noise(state.key, state.step, (self.num_samples, *mean.shape), dtype)
        candidates = (noise * state.std[None] + mean[None]).at[0].set(mean)
        if state.bounds is not None:
            candidates = jnp.clip(candidates, state.bounds[0][None, None], state.bounds[1][None, None])

        costs = cost_fn(candidates)
        costs = jnp.where(jnp.isfinite(costs), costs, jnp.inf)
        negated, index = jax.lax.top_k(-costs, self.topk)
        elites, elite_costs = candidates[index], -negated

        # Fewer finite candidates than elites: the refit takes those there are.
        finite = jnp.isfinite(elite_costs)
        count = jnp.sum(finite)
        weight = finite.astype(dtype)[:, None, None]
        total = jnp.maximum(count, 1).astype(dtype)
        new_mean = jnp.sum(elites * weight, axis=0) / total
        square = jnp.sum(jnp.square(elites - new_mean[None]) * weight, axis=0)
        new_std = jnp.sqrt(square / jnp.maximum(count - 1, 1).astype(dtype))
        elite_cost = jnp.mean(elite_costs, where=finite).astype(state.cost.dtype)

        found = count > 0
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            mean=jnp.where(found, new_mean, mean),
            std=jnp.where(found, new_std, state.std),
            cost=jnp.where(found, elite_cost, state.cost),
        )
        info = StepInfo(
            best_cost=elite_costs[0].astype(state.cost.dtype),
            elite_cost=jnp.where(found, elite_cost, jnp.inf),
            spread=jnp.mean(state.std),
            nonfinite=jnp.sum(~jnp.isfinite(costs)).astype(jnp.int32),
        )
        return state, info

    def finish(self, state: CEMState) -> Plan:
        """The plan of a state: its mean.

        Args:
            state: The distribution after the last step.

        Returns:
            The plan, without a trace.
        """
        status = jnp.where(jnp.isfinite(state.cost), Status.OK, Status.NO_FINITE_COST).astype(jnp.int32)
        return Plan(actions=state.mean, cost=state.cost, status=status)
