"""What planners exchange: cost functions, plans, records of steps and status codes."""

import dataclasses
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import chex
from gymnasium import Space
from jaxtyping import Array, Float, Int, Key

from swmjax.planning.scoring import Scorer

CostFn = Callable[[Float[Array, "N H A"]], Float[Array, " N"]]
"""Candidate action sequences to costs; lower is better, differentiable where the model is.

A solver of discrete actions hands over one-hot vectors, one block of categories after the other (A is the number of
all categories); a solver of a `Dict` space a dict of candidates.
"""

ConstraintFn = Callable[[Float[Array, "N H A"]], Float[Array, "N C"]]
"""Candidate action sequences to constraint values, satisfied when at most 0."""

Kind = Literal["sampling", "gradient", "constrained", "discrete", "search", "composite"]


class Status(IntEnum):
    """How a solve ended."""

    OK = 0
    """At least one candidate had a finite cost."""
    NO_FINITE_COST = 1
    """No candidate ever had a finite cost; the plan is the warm start."""


@chex.dataclass(frozen=True)
class StepRecord:
    """Everything that one solver step saw, for metrics to choose from; what nobody asks for is never computed.

    Args:
        candidates: The population of this step (of a gradient solver: its iterates before the update).
        costs: Cost of each candidate; inf where it was not finite.
        elites: Indices of the candidates that shaped the update, best first; None if the solver has no elites.
        mean_before: The nominal plan before the step.
        mean: The nominal plan after the step.
        std: Standard deviation of the sampling distribution after the step, in action units; None if it has none.
        gradient: Gradient of each candidate's cost; None if the solver uses none.
    """

    candidates: Any
    costs: Float[Array, " N"]
    elites: Int[Array, " K"] | None = None
    mean_before: Any = None
    mean: Any = None
    std: Any = None
    gradient: Float[Array, "N H A"] | None = None


@chex.dataclass(frozen=True)
class Plan:
    """The result of a solve; every field has a leading axis of problems after `solve_batch`.

    Args:
        actions: Planned actions, one row a planner step, in the units of the action space; whole numbers for a
            discrete space, a dict for a `Dict` space.
        cost: The solver's cost of the plan (which one is said in its docstring), inf when none was finite.
        status: A `Status` code.
        trace: Metrics by name, with an axis of solver steps; empty until the driver fills it.
        carry: What a solver keeps for the next solve of the same problem (multipliers), else None.
    """

    actions: Any
    cost: Float[Array, "*batch"]
    status: Int[Array, "*batch"]
    trace: dict[str, Array] = dataclasses.field(default_factory=dict)
    carry: Any = None

    def plot(self, file: str | Path | None = None) -> Any:
        """Draw how the solve converged, see `swmjax.planning.plotting.plot_plan`."""
        from swmjax.planning.plotting import plot_plan

        return plot_plan(self, file)


S = TypeVar("S")


@runtime_checkable
class Solver(Protocol[S]):
    """Hyperparameters and three pure functions; `n_steps` is how often the driver calls `step`.

    `kind` says what it is: a `discrete` solver needs a `Discrete` or `MultiDiscrete` space, a `composite` one a `Dict`,
    all others a one-axis Box. Only a `constrained` solver takes constraints.
    """

    kind: ClassVar[Kind]

    @property
    def n_steps(self) -> int: ...

    def init(self, key: Key[Array, ""], space: Space, horizon: int, warm_start: Any = None) -> S: ...

    def step(self, state: S, cost_fn: Scorer) -> tuple[S, StepRecord]: ...

    def finish(self, state: S, cost_fn: Scorer) -> Plan: ...


Problem = Any
"""A pytree that describes one planning problem to a cost function."""
