"""Callbacks as data: what to keep of every solver step, computed inside the compiled loop."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from envs_mjx.checks import UserError, check_choice, check_integer
from swmjax.planning.types import StepRecord


@dataclass(frozen=True)
class Metric:
    """A number or array of every solver step; `plan.trace[metric.name]` has one row a step.

    Subclasses compute it from a `StepRecord` in `__call__`.
    """

    @property
    def name(self) -> str:
        """Name of the class in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def __call__(self, record: StepRecord) -> Array:
        raise NotImplementedError


@dataclass(frozen=True)
class BestCost(Metric):
    """Lowest cost of the population, inf when none was finite."""

    def __call__(self, record: StepRecord) -> Float[Array, ""]:
        return jnp.min(record.costs)


@dataclass(frozen=True)
class MeanCost(Metric):
    """Mean of the finite costs of the population, inf when there are none."""

    def __call__(self, record: StepRecord) -> Float[Array, ""]:
        return _finite_mean(record.costs)


@dataclass(frozen=True)
class EliteCost(Metric):
    """Cost of the candidates that shaped the update; of all finite ones where a solver has no elites.

    Args:
        statistic: 'mean', 'min' or 'max'.

    Raises:
        UserError: Another statistic.
    """

    statistic: Literal["mean", "min", "max"] = "mean"

    def __post_init__(self) -> None:
        check_choice("EliteCost.statistic", self.statistic, ("mean", "min", "max"))

    @property
    def name(self) -> str:
        """`elite_cost`, or with the statistic behind it."""
        return "elite_cost" if self.statistic == "mean" else f"elite_cost_{self.statistic}"

    def __call__(self, record: StepRecord) -> Float[Array, ""]:
        costs = record.costs if record.elites is None else record.costs[record.elites]
        if self.statistic == "mean":
            return _finite_mean(costs)
        if self.statistic == "min":
            return jnp.min(costs)
        finite = jnp.isfinite(costs)
        return jnp.where(finite.any(), jnp.max(costs, where=finite, initial=-jnp.inf), jnp.inf)


@dataclass(frozen=True)
class NonFinite(Metric):
    """Number of candidates whose cost was not finite."""

    def __call__(self, record: StepRecord) -> Int[Array, ""]:
        return jnp.sum(~jnp.isfinite(record.costs)).astype(jnp.int32)


@dataclass(frozen=True)
class VarNorm(Metric):
    """Mean standard deviation of the sampling distribution (the reference's name, although it is no variance)."""

    def __call__(self, record: StepRecord) -> Float[Array, ""]:
        return jnp.mean(_needed(record, self, "std"))


@dataclass(frozen=True)
class MeanShift(Metric):
    """Euclidean length of the change of the nominal plan."""

    def __call__(self, record: StepRecord) -> Float[Array, ""]:
        change = _needed(record, self, "mean") - _needed(record, self, "mean_before")
        return jnp.sqrt(jnp.sum(jnp.square(change)))


@dataclass(frozen=True)
class EliteSpread(Metric):
    """Standard deviation over the elites (Bessel-corrected; 0 for one elite), averaged over steps and actions."""

    def __call__(self, record: StepRecord) -> Float[Array, ""]:
        elites = record.candidates[_needed(record, self, "elites")]
        return jnp.mean(jnp.std(elites, axis=0, ddof=1)) if elites.shape[0] > 1 else jnp.zeros((), elites.dtype)


@dataclass(frozen=True)
class GradNorm(Metric):
    """Euclidean length of every candidate's gradient, averaged over candidates.

    Args:
        per_step: Length at each of the H planner steps instead of the whole.
    """

    per_step: bool = False

    def __call__(self, record: StepRecord) -> Float[Array, "*H"]:
        squares = jnp.square(_needed(record, self, "gradient"))
        return jnp.mean(jnp.sqrt(jnp.sum(squares, axis=-1 if self.per_step else (-2, -1))), axis=0)


@dataclass(frozen=True)
class ActionNorm(Metric):
    """Euclidean length of every candidate, averaged over candidates."""

    def __call__(self, record: StepRecord) -> Float[Array, ""]:
        return jnp.mean(jnp.sqrt(jnp.sum(jnp.square(record.candidates), axis=(-2, -1))))


@dataclass(frozen=True)
class Cloud(Metric):
    """The first action of some candidates, for `Plan.plot`: where the solver looks.

    Args:
        count: Candidates to keep.

    Raises:
        UserError: The count is not a positive integer.
    """

    count: int = 64

    def __post_init__(self) -> None:
        check_integer("Cloud.count", self.count, 1)

    def __call__(self, record: StepRecord) -> Float[Array, "count A"]:
        return record.candidates[: self.count, 0]


DEFAULT_METRICS: tuple[Metric, ...] = (BestCost(), EliteCost(), NonFinite())
"""What a plan's trace holds when nothing else is asked for."""


def trace_row(metrics: tuple[Metric, ...], record: StepRecord) -> dict[str, Array]:
    """The row of a trace that one step adds.

    Raises:
        UserError: Two metrics have one name, or one needs what the solver does not have.
    """
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise UserError(f"metrics must have different names, got {names}")
    return {metric.name: metric(record) for metric in metrics}


def _finite_mean(costs: Float[Array, " N"]) -> Float[Array, ""]:
    finite = jnp.isfinite(costs)
    mean = jnp.sum(jnp.where(finite, costs, 0.0)) / jnp.maximum(jnp.sum(finite), 1).astype(costs.dtype)
    return jnp.where(finite.any(), mean, jnp.inf)


def _needed(record: StepRecord, metric: Metric, name: str) -> Any:
    value = getattr(record, name)
    if value is None or not isinstance(value, jax.Array):
        raise UserError(f"{type(metric).__name__} needs a solver that has {_MEANING[name]}; leave it out")
    return value


_MEANING = {
    "elites": "elites",
    "gradient": "gradients",
    "mean": "a nominal plan",
    "mean_before": "a nominal plan",
    "std": "a standard deviation",
}
