"""The evolution strategies of evosax."""

import functools
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx.checks import UserError, check_choice, check_integer, check_nonnegative, needs_extra
from swmjax.planning.solvers.ask_tell import StrategySolver


@dataclass(frozen=True)
class EvosaxSolver(StrategySolver):
    """CMA-ES, SNES and other evolution strategies of evosax that are built around a mean.

    The plan is the best candidate of all steps, see `AskTellSolver`.

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
        known = {field.name for field in fields(_built(self.algorithm, self.num_samples, 2, False)[1])}
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
    with needs_extra("EvosaxSolver needs", "search"):
        found = importlib.import_module("evosax.algorithms").distribution_based_algorithms

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
