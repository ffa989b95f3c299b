"""The one driver for every solver."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_integer
from swmjax.planning.host import HostSolver
from swmjax.planning.metrics import DEFAULT_METRICS, Metric, trace_row
from swmjax.planning.scoring import PROBLEMS, Scorer, planning_mesh
from swmjax.planning.types import ConstraintFn, CostFn, Plan, Problem, Solver

Listener = Callable[[Any, dict[str, Any]], None]
"""Called on the host with the number of the step and the metrics of that step, as NumPy arrays."""


def solve(
    solver: Solver | HostSolver,
    cost_fn: CostFn,
    space: gymnasium.Space,
    key: Key[Array, ""],
    horizon: int,
    warm_start: Any = None,
    *,
    carry: Any = None,
    constraint_fn: ConstraintFn | None = None,
    metrics: tuple[Metric, ...] = DEFAULT_METRICS,
    on_step: Listener | None = None,
    candidate_chunk: int | None = None,
    mesh: Mesh | None = None,
) -> Plan:
    """Plan for one problem. Pure: call it under `jax.jit` together with whatever makes the cost function.

    Only solvers that search on the host (`HostSolver`, such as nevergrad's) have to stay outside of `jit`.

    Args:
        solver: Any solver of this package.
        cost_fn: Candidates [N, H, A] to costs [N], lower is better.
        space: Action space of one planner step; see `block_space`.
        key: Typed key.
        horizon: H, planner steps.
        warm_start: The first W <= H actions to start from, in action units; zeros follow.
        carry: `Plan.carry` of the solve before of the same problem, for solvers that keep something.
        constraint_fn: Candidates to constraint values [N, C], at most 0 when satisfied; for constrained solvers.
        metrics: What the trace keeps of every step.
        on_step: Called on the host after each step, for a live plot or log; the order of the calls is not promised.
        candidate_chunk: Candidates scored at once, to bound the memory; all if not given. The result is the same to
            float tolerance. `auto_chunk` chooses it from the device's memory.
        mesh: Devices; its axis `candidates` shares the scoring of one population among them. The plan is the same to
            float tolerance.

    Returns:
        The plan with its trace.

    Raises:
        UserError: The space, the horizon, the warm start or the shape of the costs does not fit, or constraints or a
            carry are given to a solver that takes none.
    """
    if candidate_chunk is not None:
        check_integer("candidate_chunk", candidate_chunk, 1)
    if constraint_fn is not None and solver.kind != "constrained":
        raise UserError(
            f"{type(solver).__name__} takes no constraints; use LagrangianSolver, or add a penalty to the cost"
        )
    scorer = Scorer(cost_fn, constraint_fn, candidate_chunk, planning_mesh(mesh))
    if isinstance(solver, HostSolver):
        if carry is not None:
            raise UserError(_keeps_nothing(solver))
        return solver.solve_host(scorer, space, key, horizon, warm_start, metrics, on_step)

    def advance(state: Any, number: Array) -> tuple[Any, dict[str, Array]]:
        state, record = solver.step(state, scorer)
        row = trace_row(metrics, record)
        if on_step is not None:
            jax.debug.callback(on_step, number, row)
        return state, row

    state = started(solver, scorer, key, space, horizon, warm_start, carry)
    state, trace = jax.lax.scan(advance, state, jnp.arange(solver.n_steps))
    return dataclasses.replace(solver.finish(state, scorer), trace=trace)


def started(
    solver: Solver,
    scorer: Scorer,
    key: Key[Array, ""],
    space: gymnasium.Space,
    horizon: int,
    warm_start: Any,
    carry: Any,
) -> Any:
    """The state before the first step, see `solve`.

    Solvers whose state depends on the cost function (on the number of constraints, or the size of a latent) have a
    method `prepare(state, cost_fn) -> state` that completes what `init` gave.
    """
    if carry is not None and "carry" not in inspect.signature(solver.init).parameters:
        raise UserError(_keeps_nothing(solver))
    kept = {} if carry is None else {"carry": carry}
    state = solver.init(key, space, horizon, warm_start, **kept)
    return solver.prepare(state, scorer) if hasattr(solver, "prepare") else state


def solve_batch(
    solver: Solver | HostSolver,
    cost_fn: Callable[[Problem, Any], Float[Array, " N"]],
    problems: Problem,
    space: gymnasium.Space,
    key: Key[Array, "*B"],
    horizon: int,
    warm_start: Any = None,
    problem_ids: Int[Array, " B"] | None = None,
    batch_size: int | None = None,
    *,
    carry: Any = None,
    constraint_fn: Callable[[Problem, Any], Float[Array, "N C"]] | None = None,
    mesh: Mesh | None = None,
    **options: Any,
) -> Plan:
    """Plan for many problems as one program: matrix products merge problems and candidates.

    Every problem draws from `fold_in(key, problem_id)`, so its plan does not depend on the rest of the batch.

    Args:
        solver: Any solver of this package.
        cost_fn: One problem and its candidates [N, H, A] to costs [N].
        problems: A pytree whose leaves have a leading axis of B problems.
        space: Action space of one planner step.
        key: Typed key, shared by the batch; or one key a problem, which is then used as it is.
        horizon: H, planner steps.
        warm_start: The first W <= H actions of every problem.
        problem_ids: Non-negative identifiers; 0 to B - 1 if not given. Not with one key a problem.
        batch_size: Problems solved side by side, the rest after them: bounds the memory; all at once if not given.
        carry: `Plan.carry` of the solve before of the same problems.
        constraint_fn: One problem and its candidates to constraint values [N, C].
        mesh: Devices; its axis `problems` shares the problems among them, `candidates` every population.
        **options: `metrics`, `on_step` and `candidate_chunk` of `solve`.

    Returns:
        Plans, every field with a leading axis of B problems.

    Raises:
        UserError: There are no problems, or a shape does not fit.
    """
    keys = _keys(key, problems, problem_ids, warm_start, carry)
    mesh = planning_mesh(mesh)
    if isinstance(solver, HostSolver):
        given = {"carry": carry, "constraint_fn": constraint_fn, "mesh": mesh, "batch_size": batch_size}
        given["on_step"] = options.pop("on_step", None)
        if refused := [name for name, value in given.items() if value is not None]:
            raise UserError(f"{type(solver).__name__} plans for batches without {', '.join(refused)}")
        options = {"metrics": DEFAULT_METRICS} | options
        return solver.solve_host_batch(cost_fn, problems, space, keys, horizon, warm_start, **options)

    def solve_one(problem: Problem, one_key: Array, warm_start: Any, carry: Any) -> Plan:
        constraints = None if constraint_fn is None else partial(constraint_fn, problem)
        return solve(
            solver,
            partial(cost_fn, problem),
            space,
            one_key,
            horizon,
            warm_start,
            carry=carry,
            constraint_fn=constraints,
            mesh=mesh,
            **options,
        )

    arguments = problems, keys, warm_start, carry
    axis = None
    if mesh is not None and PROBLEMS in mesh.axis_names:
        _check_shares(keys.shape[0], mesh, batch_size)
        arguments = jax.lax.with_sharding_constraint(arguments, NamedSharding(mesh, PartitionSpec(PROBLEMS)))
        axis = PROBLEMS
    if batch_size is None:
        return jax.vmap(solve_one, spmd_axis_name=axis)(*arguments)
    check_integer("batch_size", batch_size, 1)
    return jax.lax.map(lambda one: solve_one(*one), arguments, batch_size=batch_size)


def _keeps_nothing(solver: Any) -> str:
    return f"{type(solver).__name__} keeps nothing from one solve to the next; leave out carry"


def _keys(
    key: Key[Array, "*B"], problems: Problem, problem_ids: Int[Array, " B"] | None, warm_start: Any, carry: Any
) -> Key[Array, " B"]:
    """A key for every problem, after a check that everything given has a row for it."""
    leaves = jax.tree.leaves(problems)
    if not leaves or min(jnp.ndim(leaf) for leaf in leaves) == 0:
        raise UserError("problems must be a pytree of arrays with a leading axis of problems")
    rows = (*leaves, *jax.tree.leaves((warm_start, carry, problem_ids)))
    sizes = {leaf.shape[0] for leaf in rows} | set(key.shape)
    if len(sizes) != 1:
        raise UserError(
            f"problems, warm_start, carry, keys and problem_ids must agree in their leading axis, got {sorted(sizes)}"
        )
    if key.ndim and problem_ids is not None:
        raise UserError("problem_ids cannot be combined with one key a problem")
    if key.ndim:
        return key
    ids = jnp.arange(sizes.pop()) if problem_ids is None else problem_ids
    return jax.vmap(partial(jax.random.fold_in, key))(ids)


def _check_shares(count: int, mesh: Mesh, batch_size: int | None) -> None:
    """Refuse problems that a mesh cannot share among its devices."""
    if batch_size is not None:
        raise UserError("batch_size cannot be combined with a mesh that shares the problems among devices")
    if count % mesh.shape[PROBLEMS]:
        raise UserError(
            f"the number of problems must be a multiple of the {mesh.shape[PROBLEMS]} devices that share them, "
            f"got {count}"
        )
