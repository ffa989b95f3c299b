"""The expert of SimplePointMaze: along the shortest way over a grid, between walls that the disc does not touch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from envs_mjx.planar.fields import distances
from envs_mjx.planar.point_goal import Factors
from envs_mjx.point_maze.factors import SIZE, blocked

_CELLS = 50
_DIRECTIONS = 16


def expert_action(
    agent: Float[Array, "2"], goal: Float[Array, "2"], factors: Factors, reach: float
) -> Float[Array, "2"]:
    """The step, among some directions and the straight one, that ends nearest to the goal and in no wall.

    Args:
        agent: Centre x, y.
        goal: Centre x, y.
        factors: Of variation.
        reach: Largest action along an axis.

    Returns:
        Action of -reach to reach.
    """
    side = SIZE / _CELLS
    centres = (np.stack(np.meshgrid(np.arange(_CELLS), np.arange(_CELLS), indexing="ij"), -1) + 0.5) * side
    free = ~jax.vmap(jax.vmap(lambda centre: blocked(centre, factors)))(jnp.asarray(centres, agent.dtype))
    field = distances(free, _cell(goal))
    turns = 2 * math.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    around = jnp.asarray(np.stack([np.cos(turns), np.sin(turns)], 1) * reach, agent.dtype)
    straight = jnp.clip((goal - agent) / factors["agent.speed"], -reach, reach)
    actions = jnp.concatenate([straight[None], around])
    ends = jnp.clip(agent[None] + factors["agent.speed"] * actions, 0.0, SIZE)
    cells = jax.vmap(_cell)(ends)
    # Cells are coarse: of two ends in cells at the same distance the one nearer to the goal is better.
    far = field[cells[:, 0], cells[:, 1]] + jnp.sqrt(((ends - goal[None]) ** 2).sum(1)) / SIZE
    barred = jax.vmap(lambda end: blocked(end, factors))(ends)
    return actions[jnp.argmin(jnp.where(barred, jnp.inf, far))].astype(jnp.float32)


def _cell(place: Float[Array, "2"]) -> Array:
    return jnp.clip((place / SIZE * _CELLS).astype(jnp.int32), 0, _CELLS - 1)
