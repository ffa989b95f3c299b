"""How candidates are scored: checked, in slices that bound the memory, or shared among devices."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.planning.types import Problem, Transitions

CANDIDATES, PROBLEMS = "candidates", "problems"
"""Names of the mesh axes that candidates and problems are shared among."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """The cost function that solvers call.

    Args:
        cost_fn: Candidates [N, H, A] to costs [N].
        constraint_fn: Candidates to constraint values [N, C], or None.
        chunk: Candidates scored at once, the rest after them; all if None.
        mesh: Devices that share the candidates, along its axis `candidates` if it has one; see `planning_mesh`.
        transitions: Single steps of the model, for a solver that takes them.
    """

    cost_fn: Callable[[Any], Float[Array, " N"]]
    constraint_fn: Callable[[Any], Float[Array, "N C"]] | None = None
    chunk: int | None = None
    mesh: Mesh | None = None
    transitions: Transitions | None = None

    def __call__(self, candidates: Any) -> Float[Array, " N"]:
        """Costs of candidates; see `CostFn`.

        Raises:
            UserError: The cost function returns something else than N floating point numbers.
        """

        def checked(part: Any) -> Array:
            try:
                costs, count = self.cost_fn(part), _count(part)
            except jax.errors.TracerArrayConversionError as error:
                raise UserError(
                    "the cost function makes NumPy arrays of its candidates, which a compiled program has none of; "
                    "write it with jax.numpy"
                ) from error
            if not _is_floating(costs) or jnp.shape(costs) != (count,):
                raise UserError(
                    f"the cost function must return {count} floating point costs for {count} candidates, "
                    f"got {_said(costs)}"
                )
            return costs

        return self._sliced(checked, candidates)

    def constraints(self, candidates: Any) -> Float[Array, "N C"]:
        """Constraint values of candidates, satisfied when at most 0.

        Raises:
            UserError: The constraint function returns something else than N rows of floating point numbers.
        """

        def checked(part: Any) -> Array:
            assert self.constraint_fn is not None
            values, count = self.constraint_fn(part), _count(part)
            if not _is_floating(values) or jnp.ndim(values) != 2 or len(values) != count:
                raise UserError(
                    f"the constraint function must return floating point values of shape [{count}, C] for {count} "
                    f"candidates, got {_said(values)}"
                )
            return values

        return self._sliced(checked, candidates)

    def _sliced(self, function: Callable[[Any], Array], candidates: Any) -> Array:
        count = _count(candidates)
        devices = 1 if self.mesh is None else self.mesh.shape.get(CANDIDATES, 1)
        size = count if self.chunk is None else min(self.chunk, count)
        size = -(-size // devices) * devices
        rows = -(-count // size)

        def filled(leaf: Array) -> Array:
            # With copies of the first candidate, so that one program serves all slices and all devices.
            return jnp.concatenate([leaf, jnp.repeat(leaf[:1], rows * size - count, axis=0)])

        if rows * size != count:
            candidates = jax.tree.map(filled, candidates)
        if rows == 1:
            return function(self._shared(candidates))[:count]
        # A gradient recomputes each slice instead of keeping what all of them remember.
        score = jax.checkpoint(lambda part: function(self._shared(part)))
        slices = jax.tree.map(lambda leaf: leaf.reshape(rows, size, *leaf.shape[1:]), candidates)
        scored = jax.lax.map(score, slices)
        return scored.reshape(rows * size, *scored.shape[2:])[:count]

    def _shared(self, candidates: Any) -> Any:
        if self.mesh is None or CANDIDATES not in self.mesh.axis_names:
            return candidates
        sharding = NamedSharding(self.mesh, PartitionSpec(CANDIDATES))
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), candidates)


@dataclass(frozen=True)
class BatchScorer:
    """The cost functions of many problems; hashed by its parts, so that programs made with it are found again.

    Args:
        cost_fn: One problem and its candidates [N, H, A] to costs [N].
        constraint_fn: One problem and its candidates to constraint values [N, C], or None.
        chunk: See `Scorer`.
        mesh: Devices, along the axes `candidates` and `problems` if it has them; see `planning_mesh`.
        transitions: One problem to the single steps of its model, for a solver that takes them.
    """

    cost_fn: Callable[[Problem, Any], Float[Array, " N"]]
    constraint_fn: Callable[[Problem, Any], Float[Array, "N C"]] | None = None
    chunk: int | None = None
    mesh: Mesh | None = None
    transitions: Callable[[Problem], Transitions] | None = None

    def of(self, problem: Problem) -> Scorer:
        """The cost function of one problem."""
        return Scorer(
            cost_fn=partial(self.cost_fn, problem),
            constraint_fn=None if self.constraint_fn is None else partial(self.constraint_fn, problem),
            chunk=self.chunk,
            mesh=self.mesh,
            transitions=None if self.transitions is None else self.transitions(problem),
        )


def planning_mesh(mesh: Mesh | None) -> Mesh | None:
    """A mesh whose axes the compiler may share work along.

    Args:
        mesh: Devices, with axes called `candidates`, `problems` or both.

    Raises:
        UserError: Another name.
    """
    if mesh is None:
        return None
    if not set(mesh.axis_names) <= {CANDIDATES, PROBLEMS}:
        names = ", ".join(map(repr, mesh.axis_names))
        raise UserError(f"the axes of the mesh must be called {CANDIDATES} or {PROBLEMS}, got {names}")
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def _is_floating(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)


def _said(value: Any) -> str:
    return f"{value.dtype} of shape {list(value.shape)}" if hasattr(value, "dtype") else f"a {type(value).__name__}"


def _count(candidates: Any) -> int:
    return jax.tree.leaves(candidates)[0].shape[0]
