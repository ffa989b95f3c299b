"""What planners exchange: cost functions, plans, records of steps and status codes."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from envs_mjx.checks import UserError
from envs_mjx.state import outline
from swmjax.planning.plotting import plot_trace

if TYPE_CHECKING:
    # What chex makes, for type checkers of users, where chex has no types.
    from dataclasses import dataclass as pytree
else:
    pytree = chex.dataclass

CostFn = Callable[[Float[Array, "N H A"]], Float[Array, " N"]]
"""Candidate action sequences to costs; lower is better, differentiable where the model is.

A solver of discrete actions hands over one-hot vectors, one block of categories after the other (A is the number of
all categories); a solver of a `Dict` space a dict of candidates.
"""

ConstraintFn = Callable[[Float[Array, "N H A"]], Float[Array, "N C"]]
"""Candidate action sequences to constraint values, satisfied when at most 0."""

Problem = Any
"""A pytree that describes one planning problem to a cost function."""


@dataclass(frozen=True, eq=False)
class Transitions:
    """Where a problem starts, where it should end, and the model in between, for solvers that plan in states as well.

    Args:
        start: The current state, for a world model its latent.
        goal: The state to reach.
        predict: T states [T, *D] and the action [T, A] in each to the T states after them, each from one state.
        rollout: Candidates [N, H, A] to the H states that they lead to, [N, H, *D].
    """

    start: Float[Array, "*D"]
    goal: Float[Array, "*D"]
    predict: Callable[[Float[Array, "T *D"], Float[Array, "T A"]], Float[Array, "T *D"]]
    rollout: Callable[[Float[Array, "N H A"]], Float[Array, "N H *D"]]

    def goal_distance(self, candidates: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """The cost of ending far from the goal: the squared distance of the last state of each rollout."""
        distance = jnp.square(self.rollout(candidates)[:, -1] - self.goal[None])
        return jnp.sum(distance, axis=tuple(range(1, distance.ndim)))


class Status(IntEnum):
    """How a solve ended."""

    OK = 0
    """At least one candidate had a finite cost."""
    NO_FINITE_COST = 1
    """No candidate ever had a finite cost; the plan is the warm start."""


@pytree(frozen=True, kw_only=True)
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


@pytree(frozen=True, kw_only=True)
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

    if TYPE_CHECKING:

        def replace(self, **changes: Any) -> Self:
            """The plan with other values of some fields."""

    def __repr__(self) -> str:
        """Cost and status of one plan; of all else shapes and dtypes."""
        one = np.ndim(self.cost) == 0 and not isinstance(self.cost, jax.core.Tracer)
        shown = {
            "actions": outline(self.actions),
            "cost": f"{float(self.cost):.6g}" if one else outline(self.cost),
            "status": Status(int(self.status)).name if one else outline(self.status),
            "trace": outline(self.trace),
        } | ({} if self.carry is None else {"carry": outline(self.carry)})
        return "\n".join(["Plan(", *(f"  {name}: {text}" for name, text in shown.items()), ")"])

    def plot(self, file: str | Path | None = None) -> Any:
        """Draw how the solve of one problem converged, see `swmjax.planning.plotting.plot_trace`."""
        if np.ndim(self.cost) != 0:
            raise UserError(
                f"plot draws one plan, got a batch of shape {list(np.shape(self.cost))}; take one with "
                "jax.tree.map(lambda leaf: leaf[0], plan)"
            )
        return plot_trace(self.trace, file)
