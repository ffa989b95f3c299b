"""How many candidates fit into the device's memory."""

import os
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from envs_mjx.checks import UserError, check_integer
from swmjax.planning.spaces import action_size, category_counts, check_horizon
from swmjax.planning.types import CostFn

_PROBES = (32, 96)
"""Numbers of candidates that the cost function is compiled for to learn what one more costs."""


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
    discrete = isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete)
    size = sum(category_counts(space)) if discrete else action_size(space)
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


def free_memory() -> int:
    """Bytes that the first device says are free; on a CPU those of the machine."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
