"""Evolution strategies with pure init, ask and tell functions as solvers."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import chex
import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_choice, check_integer, check_nonnegative
from swmjax.planning.optional import needed
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
    def num_samples(self) -> int:
        """Candidates per step."""
        return self.strategy.num_samples

    def init(
        self, key: Key[Array, ""], space: Box, horizon: int, warm_start: Float[Array, "W A"] | None = None
    ) -> AskTellState:
        """The state before the first step.

        Args:
            key: Typed key of this problem.
            space: Action space of one planner step.
            horizon: H, planner steps.
            warm_start: The first W <= H actions of the strategy's first mean; zeros follow.

        Returns:
            The initial state; the dtype of its sequence is that of the warm start, or of the space.
        """
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
        """The population of the next step.

        Args:
            state: The state of the strategy.

        Returns:
            Candidates.
        """
        population, _ = self.strategy.ask(self._keys(state)[0], state.strategy)
        candidates = population.reshape(-1, *state.best.shape).astype(state.best.dtype)
        return clipped(candidates, state.bounds)

    def update(
        self, state: AskTellState, candidates: Float[Array, "N H A"], costs: Float[Array, " N"]
    ) -> tuple[AskTellState, StepRecord]:
        """Tell the strategy what its population costs.

        Args:
            state: The state before.
            candidates: What `propose` gave.
            costs: Their costs.

        Returns:
            The state after and what was seen on the way.
        """
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

    def finish(self, state: AskTellState, cost_fn: Scorer) -> Plan:
        """The plan of a state: the best sequence found."""
        return Plan(actions=state.best, cost=state.cost, status=status_of(state.cost))

    def _keys(self, state: AskTellState) -> tuple[Key[Array, ""], Key[Array, ""]]:
        ask_key, tell_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        return ask_key, tell_key


@dataclass(frozen=True)
class AskTellSolver(StrategySolver):
    """Any evolution strategy with pure functions. The plan is the best candidate of all steps, with its own cost.

    A strategy is told a high cost where a candidate's was not finite, and nothing about a population without any finite
    cost. With clipped candidates it learns from those that it asked for.

    Args:
        strategy: Hyperparameters (hashable) with the functions of `Strategy`.
        n_steps: Steps per solve.
        clip: 'none', or 'bounds' to clip candidates to the action space.

    Raises:
        UserError: The strategy lacks a function, or a hyperparameter is out of range.
    """

    kind: ClassVar[Literal["search"]] = "search"

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


@dataclass(frozen=True)
class EvosaxSolver(StrategySolver):
    """An evolution strategy of evosax that is built around a mean. The plan is the best candidate of all steps.

    Args:
        algorithm: Name of a distribution-based algorithm of evosax, such as 'CMA_ES', 'Sep_CMA_ES', 'SNES', 'xNES'.
        num_samples: Candidates per step.
        n_steps: Steps per solve.
        var_scale: Initial standard deviation, in action units; algorithms that take none only know 1.
        options: Other parameters of the algorithm by name: a mapping or pairs.
        clip: 'none', or 'bounds' to clip candidates to the action space; see `AskTellSolver`.

    Raises:
        UserError: evosax is not installed, it has no such algorithm or option, or a hyperparameter is out of range.

    Source: Lange 2023, "evosax: JAX-based Evolution Strategies".
    """

    kind: ClassVar[Literal["search"]] = "search"

    algorithm: str = "CMA_ES"
    num_samples: int = 300
    n_steps: int = 30
    var_scale: float = 1.0
    options: Any = ()
    clip: Literal["none", "bounds"] = "none"

    def __post_init__(self) -> None:
        check_integer("EvosaxSolver.num_samples", self.num_samples, 1)
        check_integer("EvosaxSolver.n_steps", self.n_steps, 1)
        check_nonnegative("EvosaxSolver.var_scale", self.var_scale)
        check_choice("EvosaxSolver.clip", self.clip, ("none", "bounds"))
        pairs = self.options.items() if isinstance(self.options, Mapping) else self.options
        object.__setattr__(self, "options", tuple((name, value) for name, value in pairs))
        check_choice("EvosaxSolver.algorithm", self.algorithm, sorted(_algorithms()))
        known = {field.name for field in dataclasses.fields(_built(self.algorithm, self.num_samples, 2, False)[1])}
        if self.var_scale != 1 and "std_init" not in known:
            raise UserError(f"EvosaxSolver.var_scale must be 1 for {self.algorithm}, got {self.var_scale!r}")
        for name, _ in self.options:
            check_choice("EvosaxSolver.options", name, sorted(known))

    # The type of the base's field; here it follows from the others.
    @property
    def strategy(self) -> "EvosaxStrategy":  # type: ignore[override]
        """The strategy that the fields describe."""
        return EvosaxStrategy(self.algorithm, self.num_samples, self.var_scale, self.options)


@dataclass(frozen=True)
class EvosaxStrategy:
    """An algorithm of evosax as a `Strategy`; the fields are those of `EvosaxSolver`.

    Problems of a batch are asked and told one after the other (their candidates are scored together): products and
    eigenvectors of batched matrices round in another way, and a covariance adapted over many steps amplifies that.
    """

    algorithm: str
    num_samples: int
    var_scale: float
    options: tuple[tuple[str, Any], ...]

    def init(self, key: Key[Array, ""], mean: Float[Array, " D"]) -> Any:
        """See `Strategy`."""
        algorithm, params = self._built(mean.size)
        with jax.numpy_rank_promotion("allow"):
            return algorithm.init(key, mean, params)

    def ask(self, key: Key[Array, ""], state: Any) -> tuple[Float[Array, "N D"], Any]:
        """See `Strategy`."""
        algorithm, params = self._built(state.best_solution.size)

        @jax.custom_batching.sequential_vmap
        def ask(key, state):
            with jax.numpy_rank_promotion("allow"):
                return algorithm.ask(key, state, params)

        return ask(key, state)

    def tell(self, key: Key[Array, ""], state: Any, population: Float[Array, "N D"], costs: Float[Array, " N"]) -> Any:
        """See `Strategy`."""
        algorithm, params = self._built(population.shape[1])

        @jax.custom_batching.sequential_vmap
        def tell(key, state, population, costs):
            with jax.numpy_rank_promotion("allow"):
                return algorithm.tell(key, population, costs, state, params)[0]

        return tell(key, state, population, costs)

    def _built(self, size: int) -> tuple[Any, Any]:
        algorithm, params = _built(self.algorithm, self.num_samples, size, bool(jax.config.read("jax_enable_x64")))
        options = dict(self.options)
        if hasattr(params, "std_init"):
            options.setdefault("std_init", self.var_scale)
        return algorithm, params.replace(**options)


def _algorithms() -> dict[str, type]:
    """The algorithms that are built from a population size and a mean alone."""
    found = needed("evosax.algorithms", "EvosaxSolver").distribution_based_algorithms

    def simple(algorithm: type) -> bool:
        parameters = inspect.signature(algorithm).parameters.values()
        required = {one.name for one in parameters if one.default is inspect.Parameter.empty}
        return required <= {"population_size", "solution"}

    return {name: algorithm for name, algorithm in found.items() if simple(algorithm)}


@functools.lru_cache(maxsize=64)
def _built(algorithm: str, num_samples: int, size: int, wide: bool) -> tuple[Any, Any]:
    """An algorithm and its default parameters, made once: its functions are compiled by object."""
    with jax.ensure_compile_time_eval(), jax.numpy_rank_promotion("allow"):
        built: Any = _algorithms()[algorithm](population_size=num_samples, solution=jnp.zeros(size))
        return built, built.default_params
