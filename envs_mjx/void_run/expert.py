"""The expert of VoidRun: the shortest way to the goal that is left."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from envs_mjx.planar.fields import distances


def expert_action(
    solid: Bool[Array, "R C"], position: Int[Array, "2"], goal: Int[Array, "2"], cells: Int[Array, "A 2"]
) -> Int[Array, ""]:
    """The move that leads nearest to the goal.

    Args:
        solid: Cells that are not void.
        position: Row and column of the agent.
        goal: Row and column of the goal.
        cells: Where each move leads.

    Returns:
        The number of the move; the first where there is no way.
    """
    field = distances(solid, goal)[cells[:, 0], cells[:, 1]]
    return jnp.argmin(jnp.where((cells == position[None, :]).all(1), jnp.inf, field))
