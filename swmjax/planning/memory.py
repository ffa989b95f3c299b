"""Whether candidates fit into the device's memory, and how many of them do."""

import os
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from envs_mjx.checks import UserError, check_integer
from swmjax.planning.base import Solver
from swmjax.planning.spaces import action_size, category_counts, check_horizon
from swmjax.planning.types import CostFn

_PROBES = (32, 96)
"""Numbers of candidates that the cost function is compiled for to learn what one more costs."""
_ACTION_BYTES = 4
"""Of one entry of an action, in float32."""
_NOTICEABLE = 1e-3
"""Share of the memory from which on it is worth the time to look at what a problem is made of."""


def auto_chunk(
    cost_fn: CostFn,
    space: gymnasium.Space,
    horizon: int,
    num_candidates: int,
    *,
    memory_bytes: int | None = None,
    fraction: float = 0.5,
    gradients: bool = False,
    dtype: Any = jnp.float32,
) -> int:
    """The largest `candidate_chunk` that the memory allows, from what the compiler says the cost function needs.

    The cost function is compiled for two small populations and never run.

    Args:
        cost_fn: Candidates [N, H, A] to costs [N].
        space: Action space of one planner step.
        horizon: H, planner steps.
        num_candidates: Size of the whole population; never more than that is returned.
        memory_bytes: What may be used; by default what the first device reports as free, or the machine's free memory.
        fraction: Share of the memory that scoring may take, above 0 and at most 1.
        gradients: Whether the solver differentiates the cost function.
        dtype: Type of the candidates.

    Returns:
        Candidates to score at once, at least 1.

    Raises:
        UserError: A number is out of range.
    """
    check_horizon(horizon)
    check_integer("num_candidates", num_candidates, 1)
    if memory_bytes is not None:
        check_integer("memory_bytes", memory_bytes, 1)
    if not 0.0 < fraction <= 1.0:
        raise UserError(f"fraction must be above 0 and at most 1, got {fraction!r}")
    size = _action_entries(space)
    scored: Any = jax.grad(lambda actions: jnp.sum(cost_fn(actions))) if gradients else cost_fn

    def needed(count: int) -> int:
        candidates = jax.ShapeDtypeStruct((count, horizon, size), dtype)
        analysis = jax.jit(scored).lower(candidates).compile().memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes)

    few, many = (needed(count) for count in _PROBES)
    each = max((many - few) / (_PROBES[1] - _PROBES[0]), 4.0 * horizon * size)
    budget = fraction * (free_memory() if memory_bytes is None else memory_bytes)
    fixed = max(few - each * _PROBES[0], 0.0)
    return int(np.clip((budget - fixed) // each, 1, num_candidates))


def check_memory(
    solver: Solver,
    space: gymnasium.Space,
    horizon: int,
    problems: int = 1,
    problem: Callable[[], Any] | None = None,
    memory_bytes: int | None = None,
) -> None:
    """Refuse a population that cannot fit into the memory, whatever the compiler makes of it.

    Every candidate has its actions and, while it is rolled out, about what a problem is made of.

    Args:
        solver: With the population's `num_samples`.
        space: Action space of one planner step.
        horizon: H, planner steps.
        problems: Problems that are solved side by side.
        problem: Shapes of one problem; asked for only if the actions alone take a noticeable part of the memory.
        memory_bytes: What there is; by default what the first device has, or the machine.

    Raises:
        UserError: It does not fit; the message says what it would need and what there is.
    """
    memory = _memory() if memory_bytes is None else memory_bytes
    needed = solver.num_samples * problems * horizon * _action_entries(space) * _ACTION_BYTES
    if problem is not None and needed > _NOTICEABLE * memory:
        leaves = jax.tree.leaves(problem())
        needed += solver.num_samples * problems * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if needed > memory:
        raise UserError(
            f"solver.num_samples: {solver.num_samples} candidates for each of {problems} problems need at least "
            f"{needed / 1e9:,.1f} GB of memory, but there are {memory / 1e9:,.1f} GB; take fewer"
        )


def free_memory() -> int:
    """Bytes that the first device says are free; on a CPU those of the machine."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _memory() -> int:
    """Bytes that the first device has, used or not; on a CPU those of the machine."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _action_entries(space: gymnasium.Space) -> int:
    """A of the candidates that a cost function sees."""
    discrete = isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete)
    return sum(category_counts(space)) if discrete else action_size(space)
