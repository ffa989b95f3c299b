"""The improved cross-entropy method."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import chex
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_choice, check_integer, check_nonnegative
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
class KeptElites:
    """The best candidates of a population, to be tried again in the next one.

    Args:
        actions: Candidates, best first.
        costs: Their costs; inf where there is no such candidate.
        steps: How many of their first planner steps are known; the others are sampled anew.
    """

    actions: Float[Array, "K H A"]
    costs: Float[Array, " K"]
    steps: Int[Array, ""]


@chex.dataclass(frozen=True)
class ICEMState:
    """A diagonal Gaussian over action sequences, and the elites of the last population.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        mean: Centre of the distribution, in action units.
        std: Standard deviation, in action units.
        kept: Elites that the next population starts with.
        best: Best candidate of the last population with a finite cost; the warm start before that.
        cost: Cost of the plan; inf before a finite one was found.
        bounds: Lowest and highest action when candidates are clipped, else None.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    mean: Float[Array, "H A"]
    std: Float[Array, "H A"]
    kept: KeptElites
    best: Float[Array, "H A"]
    cost: Float[Array, ""]
    bounds: Float[Array, "2 A"] | None = None


@dataclass(frozen=True)
class ICEMSolver(PopulationSolver):
    """Improved CEM: noise correlated in time, momentum, and elites that stay in the population.

    The first candidate of every population is the mean, the next ones are the best of the population before. The plan
    is the final mean, with the mean elite cost of the last population (measured before the last refit), or the best
    candidate of the last population.

    Differs from the reference: horizon 1 works (white noise); one elite gives a standard deviation of 0 instead of
    NaN; candidates whose cost is not finite rank last and never enter the refit; the best candidate comes with its own
    cost (release 0.1.1 gave the mean elite cost). As in the reference, and unlike the paper, every noise sequence is
    scaled to unit standard deviation over time, and the mean is a candidate in every step. `clip='none'`,
    `population_decay` and `shift_elites` are options; the paper has 1.25 for the one and 1 for the other.

    Args:
        num_samples: Candidates per step.
        n_steps: Steps per solve.
        topk: Elites, at most num_samples.
        var_scale: Initial standard deviation (the reference's name, although it is no variance), in action units.
        noise_beta: The power of the noise falls with its frequency to this power; 0 is white noise.
        alpha: Weight of the old mean and standard deviation in a refit, from 0 to 1.
        n_elite_keep: Elites that stay in the population, as far as there are so many.
        return_mean: Whether the plan is the mean; else the best candidate of the last population.
        clip: 'bounds' as the reference, to clip candidates to the action space, or 'none'.
        population_decay: The population of step i counts num_samples / population_decay^i candidates, never fewer than
            2 topk or all; the rest is scored, because shapes are fixed, but not looked at. 1 as the reference.
        shift_elites: Planner steps by which the kept elites are shifted for the next solve of the same problem, which
            gets them from `Plan.carry`: the receding horizon of the controller. 0 as the reference: no elites are kept.

    Raises:
        UserError: A hyperparameter is out of range.

    Source: Pinneri et al. 2020, "Sample-efficient Cross-Entropy Method for Real-time Planning"; reference,
    `solver/icem.py`.
    """

    takes = frozenset({"carry"})

    num_samples: int = 300
    n_steps: int = 30
    topk: int = 30
    var_scale: float = 1.0
    noise_beta: float = 2.0
    alpha: float = 0.1
    n_elite_keep: int = 5
    return_mean: bool = True
    clip: Literal["bounds", "none"] = "bounds"
    population_decay: float = 1.0
    shift_elites: int = 0

    def __post_init__(self) -> None:
        check_integer("ICEMSolver.num_samples", self.num_samples, 1)
        check_integer("ICEMSolver.n_steps", self.n_steps, 1)
        check_integer("ICEMSolver.topk", self.topk, 1, self.num_samples, "num_samples")
        check_integer("ICEMSolver.n_elite_keep", self.n_elite_keep, 0)
        check_integer("ICEMSolver.shift_elites", self.shift_elites, 0)
        for name in ("var_scale", "noise_beta", "alpha", "population_decay"):
            check_nonnegative(f"ICEMSolver.{name}", getattr(self, name))
        if self.alpha > 1:
            raise UserError(f"ICEMSolver.alpha must be at most 1, got {self.alpha!r}")
        if self.population_decay < 1:
            raise UserError(f"ICEMSolver.population_decay must be at least 1, got {self.population_decay!r}")
        check_choice("ICEMSolver.clip", self.clip, ("bounds", "none"))

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: KeptElites | None = None,
    ) -> ICEMState:
        """The distribution before the first step."""
        mean = nominal_actions(space, horizon, warm_start)
        cost = jnp.full((), jnp.inf, cost_dtype(mean.dtype))
        if carry is None:
            count = min(self.n_elite_keep, self.topk, self.num_samples - 1)
            carry = KeptElites(
                actions=jnp.zeros((count, *mean.shape), mean.dtype),
                costs=jnp.full(count, cost),
                steps=jnp.zeros((), jnp.int32),
            )
        return ICEMState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            mean=mean,
            std=jnp.full_like(mean, self.var_scale),
            kept=carry,
            best=mean,
            cost=cost,
            bounds=action_bounds(space, mean.dtype) if self.clip == "bounds" else None,
        )

    def propose(self, state: ICEMState) -> Float[Array, "N H A"]:
        """The mean, the kept elites, samples."""
        mean, kept = state.mean, state.kept
        # Time is last in what is drawn.
        white = self.sample_noise(state.key, state.step, (self.num_samples, *mean.shape[::-1]), mean.dtype)
        noise = jnp.swapaxes(colored(white, self.noise_beta), 1, 2)
        candidates = (noise * state.std[None] + mean[None]).at[0].set(mean)
        count, horizon = kept.actions.shape[:2]
        known = jnp.isfinite(kept.costs)[:, None] & (jnp.arange(horizon) < kept.steps)[None]
        tried_again = jnp.where(known[:, :, None], kept.actions, candidates[1 : 1 + count])
        return clipped(candidates.at[1 : 1 + count].set(tried_again), state.bounds)

    def update(
        self, state: ICEMState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[ICEMState, StepRecord]:
        """Refit the distribution to the elites, with momentum."""
        costs = finite_or_last(costs)
        if self.population_decay > 1:
            costs = jnp.where(jnp.arange(self.num_samples) < jnp.asarray(self._sizes())[state.step], costs, jnp.inf)
        elites = best(candidates, costs, self.topk)
        elite_cost = elites.cost if self.return_mean else elites.costs[0]
        count, horizon = state.kept.actions.shape[:2]
        kept = KeptElites(
            actions=candidates[elites.index[:count]],
            costs=elites.costs[:count].astype(state.cost.dtype),
            steps=jnp.full((), horizon, jnp.int32),
        )

        def refit(old: Array, new: Array) -> Array:
            return jnp.where(elites.found, self.alpha * old + (1 - self.alpha) * new, old)

        after = dataclasses.replace(
            state,
            step=state.step + 1,
            mean=refit(state.mean, elites.mean),
            std=refit(state.std, elites.std),
            kept=jax.tree.map(lambda new, old: jnp.where(elites.found, new, old), kept, state.kept),
            best=jnp.where(elites.found, candidates[elites.index[0]], state.best),
            cost=jnp.where(elites.found, elite_cost.astype(state.cost.dtype), state.cost),
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

    def finish(self, state: ICEMState, scorer: Scorer) -> Plan:
        """The plan of a state: its mean, or the best candidate of the last population."""
        carry = None
        if self.shift_elites:
            kept, shift = state.kept, self.shift_elites
            # What is rolled in at the end is beyond the known steps.
            carry = dataclasses.replace(
                kept, actions=jnp.roll(kept.actions, -shift, axis=1), steps=jnp.maximum(kept.steps - shift, 0)
            )
        actions = state.mean if self.return_mean else state.best
        return Plan(actions=actions, cost=state.cost, status=status_of(state.cost), carry=carry)

    def _sizes(self) -> np.ndarray:
        decayed = (self.num_samples / self.population_decay ** np.arange(self.n_steps)).astype(np.int32)
        return np.maximum(decayed, min(2 * self.topk, self.num_samples))


def colored(white: Float[Array, "*batch H"], beta: float) -> Float[Array, "*batch H"]:
    """Noise whose power falls with frequency, with unit standard deviation over time in every sequence.

    Args:
        white: Standard normal noise, time last.
        beta: Power of the frequency by which the power falls; the mean over time gets the power of the lowest
            frequency.

    Returns:
        The noise; at horizon 1, where there is only one frequency, the white noise.

    Source: Timmer and Koenig 1995; reference, `solver/icem.py`.
    """
    horizon = white.shape[-1]
    if horizon == 1:
        return white
    frequencies = np.fft.rfftfreq(horizon)
    frequencies[0] = frequencies[1]
    # The transform, the scaling and the way back are linear: one small matrix, which bfloat16 can use as well.
    matrix = np.fft.irfft(np.fft.rfft(np.eye(horizon)) * frequencies ** (-beta / 2), n=horizon)
    wide = white.astype(jnp.promote_types(white.dtype, jnp.float32))
    noise = jnp.matmul(wide, jnp.asarray(matrix, wide.dtype), precision=jax.lax.Precision.HIGHEST)
    std = jnp.std(noise, axis=-1, keepdims=True, ddof=1)
    return (noise / jnp.maximum(std, 1e-8)).astype(white.dtype)
