"""Fields of distances on grids, by which experts find their way."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

MOVES = ((0, -1), (0, 1), (1, 0), (-1, 0))
"""Left, right, down and up, as rows and columns."""


def distances(free: Bool[Array, "R C"], goal: Int[Array, "2"]) -> Float[Array, "R C"]:
    """Moves to a cell from every other along rows and columns, through free cells; infinite where there is no way.

    Args:
        free: Cells that can be entered.
        goal: Row and column.
    """
    start = jnp.full(free.shape, jnp.inf).at[goal[0], goal[1]].set(0.0)

    def nearer(field: Array) -> Array:
        padded = jnp.pad(field, 1, constant_values=jnp.inf)
        rows, columns = free.shape
        sides = [padded[1 + r : 1 + r + rows, 1 + c : 1 + c + columns] for r, c in MOVES]
        return jnp.minimum(field, jnp.where(free, jnp.stack(sides).min(0) + 1.0, jnp.inf))

    def step(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        return nearer(carry[0]), carry[0]

    field, _ = jax.lax.while_loop(lambda carry: (carry[0] != carry[1]).any(), step, (nearer(start), start))
    return field
