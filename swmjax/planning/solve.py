"""The one driver for every solver."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from envs_mjx.arguments import check_key
from envs_mjx.checks import UserError, check_integer
from swmjax.planning.base import Listener, Solver
from swmjax.planning.costs.transitions import ProblemTransitions, TransitionCost
from swmjax.planning.metrics import DEFAULT_METRICS, Metric
from swmjax.planning.scoring import BatchScorer, Scorer, planning_mesh
from swmjax.planning.types import ConstraintFn, CostFn, Plan, Problem, Transitions


def solve(
    solver: Solver,
    cost_fn: CostFn,
    space: gymnasium.Space,
    key: Key[Array, ""],
    horizon: int,
    warm_start: Any = None,
    *,
    carry: Any = None,
    constraint_fn: ConstraintFn | None = None,
    transitions: Transitions | None = None,
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
        carry: `Plan.carry` of the solve before of the same problem, for solvers that take it.
        constraint_fn: Candidates to constraint values [N, C], at most 0 when satisfied; for solvers that take them.
        transitions: Single steps of the model, for solvers that need them; others make nothing of it.
        metrics: What the trace keeps of every step.
        on_step: Called on the host after each step, for a live plot or log; the order of the calls is not promised.
        candidate_chunk: Candidates scored at once, to bound the memory; all if not given. The result is the same to
            float tolerance. `auto_chunk` chooses it from the device's memory.
        mesh: Devices; its axis `candidates` shares the scoring of one population among them. The plan is the same to
            float tolerance.

    Returns:
        The plan with its trace.

    Raises:
        UserError: The key, the space, the horizon, the warm start or the shape of the costs does not fit; constraints
            or a carry are given to a solver that takes none, or no transitions to one that needs them.
    """
    if transitions is None and isinstance(cost_fn, TransitionCost):
        transitions = _older(cost_fn).transitions
    _check_given(solver, cost_fn, carry, constraint_fn, transitions, candidate_chunk)
    check_key(key, "solve", "solve_batch takes one key a problem")
    scorer = Scorer(cost_fn, constraint_fn, candidate_chunk, planning_mesh(mesh), transitions)
    return solver.run(scorer, space, key, horizon, warm_start, carry, metrics, on_step)


def solve_batch(
    solver: Solver,
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
    transitions: Callable[[Problem], Transitions] | None = None,
    metrics: tuple[Metric, ...] = DEFAULT_METRICS,
    on_step: Listener | None = None,
    candidate_chunk: int | None = None,
    mesh: Mesh | None = None,
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
        transitions: One problem to the single steps of its model.
        metrics: See `solve`.
        on_step: See `solve`.
        candidate_chunk: See `solve`.
        mesh: Devices; its axis `problems` shares the problems among them, `candidates` every population.

    Returns:
        Plans, every field with a leading axis of B problems.

    Raises:
        UserError: There are no problems, or what `solve` raises.
    """
    if transitions is None and isinstance(cost_fn, ProblemTransitions):
        transitions = _older(cost_fn).transitions
    _check_given(solver, cost_fn, carry, constraint_fn, transitions, candidate_chunk)
    if not hasattr(key, "dtype") or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise UserError(f"solve_batch takes a random key such as jax.random.key(0), or one a problem, got {key!r}")
    keys = _keys(key, problems, problem_ids, warm_start, carry)
    if "transitions" not in solver.takes:
        transitions = None
    scorer = BatchScorer(cost_fn, constraint_fn, candidate_chunk, planning_mesh(mesh), transitions)
    return solver.run_batch(
        scorer, problems, space, keys, horizon, warm_start, carry, metrics, on_step, batch_size=batch_size
    )


def _check_given(
    solver: Solver, cost_fn: Any, carry: Any, constraint_fn: Any, transitions: Any, candidate_chunk: int | None
) -> None:
    """Refuse what the solver does not take, and a problem that lacks what it needs."""
    name = type(solver).__name__
    if not callable(cost_fn):
        raise UserError(f"cost_fn must be a function from candidates [N, H, A] to costs [N], got {cost_fn!r}")
    if candidate_chunk is not None:
        check_integer("candidate_chunk", candidate_chunk, 1)
    if constraint_fn is not None and "constraints" not in solver.takes:
        raise UserError(f"{name} takes no constraints; use LagrangianSolver, or add a penalty to the cost")
    if carry is not None and "carry" not in solver.takes:
        raise UserError(f"{name} keeps nothing from one solve to the next; leave out carry")
    if transitions is None and "transitions" in solver.takes:
        raise UserError(
            f"{name} plans in states as well as in actions and needs the single steps of the model: give transitions, "
            "a Transitions in solve and a function from a problem to one in solve_batch (see function_transitions and "
            "model_transitions)"
        )


def _older(costs: Any) -> Any:
    """Costs that know single steps, as they were given before `transitions` was an argument."""
    warnings.warn(
        f"{type(costs).__name__} becomes the argument transitions of solve and solve_batch; give costs without it",
        DeprecationWarning,
        stacklevel=3,
    )
    return costs


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
