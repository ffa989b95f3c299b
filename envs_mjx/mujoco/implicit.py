"""Derivatives of MJX's constraint solver, for wherever MJX computes.

The solver iterates in a loop of unknown length, through which nothing can be differentiated backwards. Its result
minimises a convex cost, so how it changes follows from the cost there: the residual, the cost's gradient with respect
to the acceleration, stays 0. That is exact where the solver has converged, costs one factorisation instead of one an
iteration, and works forwards and backwards.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from mujoco import mjx

# The public `step` and `forward` look their solver up here.
from mujoco.mjx._src import forward, solver

_SOLVE = solver.solve
_Solution = tuple[Float[Array, " nv"], Float[Array, " nv"], Float[Array, " nefc"]]
"""Acceleration, force of the constraints on the degrees of freedom, and in the space of the constraints."""


@contextlib.contextmanager
def implicit_solver() -> Iterator[None]:
    """Trace constraint solvers that can be differentiated; the numbers stay the same."""
    forward.solver.solve = _solved
    try:
        yield
    finally:
        forward.solver.solve = _SOLVE


def _solved(model: mjx.Model, data: mjx.Data) -> mjx.Data:
    qacc, joint_force, force = _solution(model, data)
    changes = {"qacc": qacc, "qfrc_constraint": joint_force, "_impl.efc_force": force}
    return data.tree_replace(changes)


@jax.custom_jvp
def _solution(model: mjx.Model, data: mjx.Data) -> _Solution:
    with jax.numpy_rank_promotion("allow"):
        found = _SOLVE(model, data)
    return found.qacc, found.qfrc_constraint, found._impl.efc_force


@_solution.defjvp
def _(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[_Solution, _Solution]:
    qacc, joint_force, force = _solution(*primals)

    def balance(model: mjx.Model, data: mjx.Data, qacc: Float[Array, " nv"]) -> tuple[Array, Array, Array]:
        """The residual, and the forces."""
        with jax.numpy_rank_promotion("allow"):
            context = solver.Context.create(model, data.replace(qacc=qacc), grad=False)
        residual = context.Ma - data.qfrc_smooth - context.qfrc_constraint
        return residual, context.qfrc_constraint, context.efc_force

    still = jnp.zeros_like(qacc)
    shifted, _, _ = jax.jvp(balance, (*primals, qacc), (*tangents, still))[1]
    curvature = jax.jacfwd(lambda qacc: balance(*primals, qacc)[0])(qacc)
    factor, lower = jax.scipy.linalg.cho_factor((curvature + curvature.T) / 2)
    change = -jax.scipy.linalg.cho_solve((factor, lower), shifted)
    _, joint_change, force_change = jax.jvp(balance, (*primals, qacc), (*tangents, change))[1]
    # Factorisations that depend on the acceleration wait for this one, see `ordered`.
    return (qacc + 0.0 * factor[0, 0], joint_force, force), (change, joint_change, force_change)
