"""The one driver for every solver."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from swmjax.planning.types import CostFn, Plan, Problem, Solver
from swmjax.planning.validation import check_integer


def solve(
    solver: Solver,
    cost_fn: CostFn,
    space: Box,
    key: Key[Array, ""],
    horizon: int,
    warm_start: Float[Array, "W A"] | None = None,
) -> Plan:
    """Plan for one problem. Pure: call it under `jax.jit` together with whatever makes the cost function.

    Args:
        solver: Any solver of this package.
        cost_fn: Candidates [N, H, A] to costs [N], lower is better.
        space: Action space of one planner step; see `block_space`.
        key: Typed key.
        horizon: H, planner steps.
        warm_start: The first W <= H actions to start from, in action units; zeros follow.

    Returns:
        The plan with its trace.

    Raises:
        ValueError: The space, the horizon or the warm start does not fit.
    """
    state = solver.init(key, space, horizon, warm_start)
    state, trace = jax.lax.scan(lambda carry, _: solver.step(carry, cost_fn), state, length=solver.n_steps)
    return dataclasses.replace(solver.finish(state), trace=trace)


def solve_batch(
    solver: Solver,
    cost_fn: Callable[[Problem, Float[Array, "N H A"]], Float[Array, " N"]],
    problems: Problem,
    space: Box,
    key: Key[Array, ""],
    horizon: int,
    warm_start: Float[Array, "B W A"] | None = None,
    problem_ids: Int[Array, " B"] | None = None,
    batch_size: int | None = None,
) -> Plan:
    """Plan for many problems as one program: matrix products merge problems and candidates.

    Every problem draws from `fold_in(key, problem_id)`, so its plan does not depend on the rest of the batch.

    Args:
        solver: Any solver of this package.
        cost_fn: One problem and its candidates [N, H, A] to costs [N].
        problems: A pytree whose leaves have a leading axis of B problems.
        space: Action space of one planner step.
        key: Typed key, shared by the batch.
        horizon: H, planner steps.
        warm_start: The first W <= H actions of every problem.
        problem_ids: Non-negative identifiers; 0 to B - 1 if not given.
        batch_size: Problems solved side by side, the rest after them: bounds the memory; all at once if not given.

    Returns:
        Plans, every field with a leading axis of B problems.

    Raises:
        ValueError: There are no problems, or a shape does not fit.
    """
    leaves = jax.tree.leaves(problems)
    if not leaves or min(jnp.ndim(leaf) for leaf in leaves) == 0:
        raise ValueError("problems must be a pytree of arrays with a leading axis of problems")
    sizes = {leaf.shape[0] for leaf in leaves}
    sizes |= {array.shape[0] for array in (warm_start, problem_ids) if array is not None}
    if len(sizes) != 1:
        raise ValueError(f"problems, warm_start and problem_ids must agree in their leading axis, got {sorted(sizes)}")
    if problem_ids is None:
        problem_ids = jnp.arange(sizes.pop())

    def solve_one(problem: Problem, problem_id: Array, warm_start: Array | None) -> Plan:
        one_key = jax.random.fold_in(key, problem_id)
        return solve(solver, partial(cost_fn, problem), space, one_key, horizon, warm_start)

    arguments = problems, problem_ids, warm_start
    if batch_size is None:
        return jax.vmap(solve_one)(*arguments)
    check_integer("batch_size", batch_size, 1)
    return jax.lax.map(lambda one: solve_one(*one), arguments, batch_size=batch_size)
