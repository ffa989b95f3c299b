"""Evolution strategies with pure init, ask and tell functions as solvers."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import chex
import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_choice, check_integer
from swmjax.planning.population import (
    PopulationSolver,
    action_bounds,
    clipped,
    cost_dtype,
    finite_or_last,
    finite_stand_ins,
    status_of,
)
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord


class Strategy(Protocol):
    """An evolution strategy over vectors of D numbers: hyperparameters and three pure functions."""

    @property
    def num_samples(self) -> int:
        """N, the size of its population."""
        ...

    def init(self, key: Key[Array, ""], mean: Float[Array, " D"]) -> Any:
        """The state around a first mean: a pytree of arrays."""
        ...

    def ask(self, key: Key[Array, ""], state: Any) -> tuple[Float[Array, "N D"], Any]:
        """A population, and the state that remembers it."""
        ...

    def tell(self, key: Key[Array, ""], state: Any, population: Float[Array, "N D"], costs: Float[Array, " N"]) -> Any:
        """The state after the population was scored; all costs are finite, lower is better."""
        ...


@chex.dataclass(frozen=True)
class AskTellState:
    """The state of a strategy, and the best action sequence so far.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        strategy: What the strategy keeps.
        best: Best sequence so far, in action units; the warm start before the first step.
        cost: Its cost; inf before a finite one was found.
        bounds: Lowest and highest action when candidates are clipped, else None.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    strategy: Any
    best: Float[Array, "H A"]
    cost: Float[Array, ""]
    bounds: Float[Array, "2 A"] | None = None


class StrategySolver(PopulationSolver):
    """What solvers around a strategy share: they have `strategy` and `clip`."""

    strategy: Any
    clip: str

    @property
    def num_samples(self) -> int:  # type: ignore[override]
        """Candidates per step."""
        return self.strategy.num_samples

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> AskTellState:
        """The state before the first step."""
        key, init_key = jax.random.split(key)
        nominal = nominal_actions(space, horizon, warm_start)
        # A strategy computes in the default floating point type, whatever that of the plan.
        mean = nominal.reshape(-1).astype(jnp.result_type(float))
        return AskTellState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            strategy=jax.tree.map(jnp.asarray, self.strategy.init(init_key, mean)),
            best=nominal,
            cost=jnp.full((), jnp.inf, cost_dtype(nominal.dtype)),
            bounds=action_bounds(space, nominal.dtype) if self.clip == "bounds" else None,
        )

    def propose(self, state: AskTellState) -> Float[Array, "N H A"]:
        """The population of the next step."""
        population, _ = self.strategy.ask(self._keys(state)[0], state.strategy)
        candidates = population.reshape(-1, *state.best.shape).astype(state.best.dtype)
        return clipped(candidates, state.bounds)

    def update(
        self, state: AskTellState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[AskTellState, StepRecord]:
        """Tell the strategy what its population costs."""
        costs = finite_or_last(costs)
        ask_key, tell_key = self._keys(state)
        # The same call as in `propose`, which the compiler does once.
        population, asked = self.strategy.ask(ask_key, state.strategy)
        told = self.strategy.tell(tell_key, asked, population, finite_stand_ins(costs).astype(population.dtype))
        index = jnp.argmin(costs)
        found, cost = jnp.isfinite(costs[index]), costs[index].astype(state.cost.dtype)
        better = cost < state.cost
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            strategy=jax.tree.map(lambda new, old: jnp.where(found, new, old).astype(old.dtype), told, state.strategy),
            best=jnp.where(better, candidates[index], state.best),
            cost=jnp.minimum(cost, state.cost),
        )
        return after, StepRecord(candidates=candidates, costs=costs)

    def finish(self, state: AskTellState, scorer: Scorer) -> Plan:
        """The plan of a state: the best sequence found."""
        return Plan(actions=state.best, cost=state.cost, status=status_of(state.cost))

    def _keys(self, state: AskTellState) -> tuple[Key[Array, ""], Key[Array, ""]]:
        ask_key, tell_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        return ask_key, tell_key


@dataclass(frozen=True)
class AskTellSolver(StrategySolver):
    """Any evolution strategy with pure init, ask and tell functions.

    The plan is the best candidate of all steps, with its own cost. A strategy is told a high cost where a candidate's
    was not finite, and nothing about a population without any finite cost. With clipped candidates it learns from those
    that it asked for.

    Args:
        strategy: Hyperparameters (hashable) with the functions of `Strategy`.
        n_steps: Steps per solve.
        clip: 'none', or 'bounds' to clip candidates to the action space.

    Raises:
        UserError: The strategy lacks a function, or a hyperparameter is out of range.

    Source: Collette et al. 2010, "On Object-Oriented Programming of Optimizers".
    """

    from_settings = False

    strategy: Any = None
    n_steps: int = 30
    clip: Literal["none", "bounds"] = "none"

    def __post_init__(self) -> None:
        missing = [name for name in ("num_samples", "init", "ask", "tell") if not hasattr(self.strategy, name)]
        if missing:
            raise UserError(f"AskTellSolver.strategy must have {', '.join(missing)}, got {self.strategy!r}")
        check_integer("AskTellSolver.strategy.num_samples", self.strategy.num_samples, 1)
        check_integer("AskTellSolver.n_steps", self.n_steps, 1)
        check_choice("AskTellSolver.clip", self.clip, ("none", "bounds"))
