"""What planners exchange: cost functions, plans, per-step traces and status codes."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Protocol, TypeVar, runtime_checkable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

CostFn = Callable[[Float[Array, "N H A"]], Float[Array, " N"]]
"""Candidate action sequences to costs; lower is better, differentiable where the model is."""

ConstraintFn = Callable[[Float[Array, "N H A"]], Float[Array, "N C"]]
"""Candidate action sequences to constraint values, satisfied when at most 0."""


class Status(IntEnum):
    """How a solve ended."""

    OK = 0
    """At least one candidate had a finite cost."""
    NO_FINITE_COST = 1
    """No candidate ever had a finite cost; the plan is the warm start."""


@chex.dataclass(frozen=True)
class StepInfo:
    """What one solver step saw; in a `Plan` every field has a leading axis of steps.

    Args:
        best_cost: Lowest cost of the population, inf when none was finite.
        elite_cost: Mean cost of the candidates that shaped the update.
        spread: Mean standard deviation of the sampling distribution after the step, in action units.
        nonfinite: Number of candidates whose cost was not finite.
    """

    best_cost: Float[Array, "*steps"]
    elite_cost: Float[Array, "*steps"]
    spread: Float[Array, "*steps"]
    nonfinite: Int[Array, "*steps"]


@chex.dataclass(frozen=True)
class Plan:
    """The result of a solve; every field has a leading axis of problems after `solve_batch`.

    Args:
        actions: Planned actions, one row a planner step, in the units of the action space.
        cost: The solver's cost of the plan (which one is said in its docstring), inf when none was finite.
        status: A `Status` code.
        trace: One entry a solver step; None until the driver adds it.
    """

    actions: Float[Array, "*batch H A"]
    cost: Float[Array, "*batch"]
    status: Int[Array, "*batch"]
    trace: StepInfo | None = None


S = TypeVar("S")


@runtime_checkable
class Solver(Protocol[S]):
    """Hyperparameters and three pure functions; `n_steps` is how often the driver calls `step`."""

    @property
    def n_steps(self) -> int: ...

    def init(
        self, key: Key[Array, ""], space: Box, horizon: int, warm_start: Float[Array, "W A"] | None = None
    ) -> S: ...

    def step(self, state: S, cost_fn: CostFn) -> tuple[S, StepInfo]: ...

    def finish(self, state: S) -> Plan: ...


def block_space(space: Box, action_block: int) -> Box:
    """The action space of one planner step: `action_block` environment actions one after the other.

    Args:
        space: The environment's action space, one axis of size `action_dim`.
        action_block: Environment steps per planner step, at least 1.

    Returns:
        A Box of size A = action_block * action_dim, time-major.

    Raises:
        ValueError: The space is not a one-axis Box, or the block is not a positive integer.
    """
    action_size(space)
    if isinstance(action_block, bool) or not isinstance(action_block, int) or action_block < 1:
        raise ValueError(f"action_block must be an integer of at least 1, got {action_block!r}")
    assert isinstance(space.dtype, np.dtype)
    return Box(np.tile(space.low, action_block), np.tile(space.high, action_block), dtype=space.dtype.type)


def action_size(space: Box) -> int:
    """Size A of the planner's action vector.

    Args:
        space: The action space of one planner step.

    Returns:
        A.

    Raises:
        ValueError: The space is not a Box of floats with one axis.
    """
    if not isinstance(space, Box) or len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
        raise ValueError(f"the planner needs a one-axis Box of floats as action space, got {space}")
    return space.shape[0]


def nominal_actions(space: Box, horizon: int, warm_start: Float[Array, "W A"] | None = None) -> Float[Array, "H A"]:
    """The sequence that a solve starts from: the warm start, followed by zeros up to the horizon.

    Args:
        space: The action space of one planner step; gives the dtype when there is no warm start.
        horizon: H, planner steps.
        warm_start: The first W <= H actions, for example the rest of the previous plan.

    Returns:
        H actions, of the warm start's dtype if there is one.

    Raises:
        ValueError: The horizon is not positive, or the warm start does not fit into it.
    """
    size = action_size(space)
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise ValueError(f"horizon must be an integer of at least 1, got {horizon!r}")
    if warm_start is None:
        return jnp.zeros((horizon, size), jax.dtypes.canonicalize_dtype(space.dtype))
    warm_start = jnp.asarray(warm_start)
    if warm_start.ndim != 2 or warm_start.shape[1] != size or warm_start.shape[0] > horizon:
        raise ValueError(
            f"warm_start must have the shape [at most {horizon}, {size}] for this horizon and action space, "
            f"got {list(warm_start.shape)}"
        )
    if not jnp.issubdtype(warm_start.dtype, jnp.floating):
        raise ValueError(f"warm_start must be floating point, got {warm_start.dtype}")
    return jnp.pad(warm_start, ((0, horizon - warm_start.shape[0]), (0, 0)))


Problem = Any
"""A pytree that describes one planning problem to a cost function."""
