"""How candidates are scored: checked, in slices that bound the memory, or shared among devices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

CANDIDATES, PROBLEMS = "candidates", "problems"
"""Names of the mesh axes that candidates and problems are shared among."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """The cost function that solvers call.

    Args:
        cost_fn: Candidates [N, H, A] to costs [N].
        constraint_fn: Candidates to constraint values [N, C], or None.
        chunk: Candidates scored at once, the rest after them; all if None.
        mesh: Devices that share the candidates, along its axis `candidates` if it has one.
    """

    cost_fn: Callable[[Any], Float[Array, " N"]]
    constraint_fn: Callable[[Any], Float[Array, "N C"]] | None = None
    chunk: int | None = None
    mesh: Mesh | None = None

    def __call__(self, candidates: Any) -> Float[Array, " N"]:
        """Costs of candidates; see `CostFn`.

        Raises:
            ValueError: The cost function returns something else than N floating point numbers.
        """
        count = jax.tree.leaves(candidates)[0].shape[0]
        costs = self._sliced(self.cost_fn, candidates)
        shape, dtype = jnp.shape(costs), jnp.result_type(costs)
        if shape != (count,) or not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"the cost function must return {count} floating point costs for {count} candidates, "
                f"got {dtype} of shape {list(shape)}"
            )
        return costs

    def constraints(self, candidates: Any) -> Float[Array, "N C"]:
        """Constraint values of candidates, satisfied when at most 0.

        Raises:
            ValueError: The constraint function returns something else than N rows of floating point numbers.
        """
        assert self.constraint_fn is not None
        count = jax.tree.leaves(candidates)[0].shape[0]
        values = self._sliced(self.constraint_fn, candidates)
        shape, dtype = jnp.shape(values), jnp.result_type(values)
        if len(shape) != 2 or shape[0] != count or not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"the constraint function must return floating point values of shape [{count}, C] for {count} "
                f"candidates, got {dtype} of shape {list(shape)}"
            )
        return values

    def _sliced(self, function: Callable[[Any], Array], candidates: Any) -> Array:
        count = jax.tree.leaves(candidates)[0].shape[0]
        if self.chunk is None or self.chunk >= count:
            return function(self._shared(candidates))
        rows = -(-count // self.chunk)

        def slices(leaf: Array) -> Array:
            # The last slice is filled up with the first candidate, so that one program serves all slices.
            filled = jnp.concatenate([leaf, jnp.repeat(leaf[:1], rows * self.chunk - count, axis=0)])
            return filled.reshape(rows, self.chunk, *leaf.shape[1:])

        # A gradient recomputes each slice instead of keeping what all of them remember.
        score = jax.checkpoint(lambda part: function(self._shared(part)))
        scored = jax.lax.map(score, jax.tree.map(slices, candidates))
        return scored.reshape(rows * self.chunk, *scored.shape[2:])[:count]

    def _shared(self, candidates: Any) -> Any:
        if self.mesh is None or CANDIDATES not in self.mesh.axis_names:
            return candidates
        sharding = NamedSharding(self.mesh, PartitionSpec(CANDIDATES))
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), candidates)
