"""What solvers that score a population share."""

from abc import abstractmethod
from typing import Any

import chex
import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Bool, Float, Int

from swmjax.planning.base import Solver
from swmjax.planning.scoring import Scorer
from swmjax.planning.types import Status, StepRecord


class PopulationSolver(Solver):
    """A solver whose step is `propose`, score, `update`; `CompositeSolver` joins several of them."""

    @abstractmethod
    def propose(self, state: Any) -> Any:
        """The population of the next step: candidates [N, H, A], those of a `Dict` space by name."""

    @abstractmethod
    def update(self, state: Any, candidates: Any, costs: Float[Array, " N"]) -> tuple[Any, StepRecord]:
        """Learn from a population.

        Args:
            state: The state before.
            candidates: What `propose` gave.
            costs: Their costs.

        Returns:
            The state after, and what was seen on the way.
        """

    def step(self, state: Any, scorer: Scorer) -> tuple[Any, StepRecord]:
        """Propose a population, score it and learn from it."""
        candidates = self.propose(state)
        return self.update(state, candidates, scorer(candidates))


@chex.dataclass(frozen=True)
class Elites:
    """The best candidates of a population and their statistics.

    Args:
        index: Which candidates, best first; those whose cost is not finite come last and count for nothing.
        costs: Their costs.
        mean: Mean of those with a finite cost.
        std: Their Bessel-corrected standard deviation; 0 for a single one.
        cost: Mean of their finite costs.
        found: Whether there was any finite cost.
    """

    index: Int[Array, " K"]
    costs: Float[Array, " K"]
    mean: Float[Array, "H A"]
    std: Float[Array, "H A"]
    cost: Float[Array, ""]
    found: Bool[Array, ""]


def finite_or_last(costs: Float[Array, " N"]) -> Float[Array, " N"]:
    """Costs with inf where they are not finite, so that these rank last."""
    return jnp.where(jnp.isfinite(costs), costs, jnp.inf)


def finite_stand_ins(costs: Float[Array, " N"]) -> Float[Array, " N"]:
    """Costs with a finite number above all others where they are not finite, for searches that compute with them."""
    finite = jnp.isfinite(costs)
    worst = jnp.max(costs, where=finite, initial=-jnp.inf)
    spread = worst - jnp.min(costs, where=finite, initial=jnp.inf)
    return jnp.where(finite, costs, jnp.where(finite.any(), worst + jnp.maximum(spread, 1), 0))


def best(candidates: Float[Array, "N H A"], costs: Float[Array, " N"], count: int) -> Elites:
    """The elites of a population.

    Args:
        candidates: The population.
        costs: Their costs, inf where not finite; of equal ones the first ranks first.
        count: K.
    """
    dtype = candidates.dtype
    negated, index = jax.lax.top_k(-costs, count)
    elites, elite_costs = candidates[index], -negated
    # Fewer finite candidates than elites: the statistics take those there are.
    finite = jnp.isfinite(elite_costs)
    number = jnp.sum(finite)
    weight = finite.astype(dtype)[:, None, None]
    mean = jnp.sum(elites * weight, axis=0) / jnp.maximum(number, 1).astype(dtype)
    square = jnp.sum(jnp.square(elites - mean[None]) * weight, axis=0)
    std = jnp.sqrt(square / jnp.maximum(number - 1, 1).astype(dtype))
    return Elites(
        index=index,
        costs=elite_costs,
        mean=mean,
        std=std,
        cost=jnp.mean(elite_costs, where=finite),
        found=number > 0,
    )


def cost_dtype(dtype: Any) -> Any:
    """Type in which costs are kept: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def status_of(cost: Float[Array, ""]) -> Int[Array, ""]:
    """The status of a plan: whether a finite cost was ever found."""
    return jnp.where(jnp.isfinite(cost), Status.OK, Status.NO_FINITE_COST).astype(jnp.int32)


def action_bounds(space: Box, dtype: Any) -> Float[Array, "2 A"]:
    """Lowest and highest action of a box."""
    return jnp.stack([jnp.asarray(space.low), jnp.asarray(space.high)]).astype(dtype)


def clipped(actions: Float[Array, "*batch A"], bounds: Float[Array, "2 A"] | None) -> Float[Array, "*batch A"]:
    """Actions inside the bounds, or as they are without bounds."""
    if bounds is None:
        return actions
    low, high = (bound.reshape((1,) * (actions.ndim - 1) + (-1,)) for bound in bounds)
    return jnp.clip(actions, low, high)
