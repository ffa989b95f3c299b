"""The small problem of the examples: push a point mass round a disc to a goal in 15 steps of 0.2 s."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SPACE = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
"""Acceleration along x and y, in m/s^2 x 4."""
MOVES = gymnasium.spaces.Discrete(5)
"""Left, right, down, up at full acceleration, or none."""
HORIZON = 15
START, GOAL = np.array([-1.0, 0.0], np.float32), np.array([1.0, 0.0], np.float32)
CENTER, RADIUS = np.array([0.0, 0.1], np.float32), 0.4
_DIRECTIONS = np.array([[-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]], np.float32)


def path(actions: Float[Array, "H 2"]) -> Float[Array, "H 2"]:
    """Positions after each step, m."""

    def move(state, action):
        position, velocity = state
        velocity = velocity + 0.2 * 4.0 * action
        position = position + 0.2 * velocity
        return (position, velocity), position

    return jax.lax.scan(move, (jnp.asarray(START), jnp.zeros(2)), actions)[1]


def distance_cost(actions: Float[Array, "N H 2"]) -> Float[Array, " N"]:
    """Squared distance from the goal at the end, the way there, and a little effort."""
    paths = jax.vmap(path)(actions)
    far = jnp.square(paths - GOAL[None, None]).sum(-1)
    return 10.0 * far[:, -1] + 0.1 * far.sum(1) + 0.01 * jnp.square(actions).sum((1, 2))


def intrusion(actions: Float[Array, "N H 2"]) -> Float[Array, "N H"]:
    """How deep each position lies inside the disc, as a share of its squared radius; negative outside."""
    paths = jax.vmap(path)(actions)
    return 1.0 - jnp.square(paths - CENTER[None, None]).sum(-1) / RADIUS**2


def cost(actions: Float[Array, "N H 2"]) -> Float[Array, " N"]:
    """`distance_cost` and a penalty for being inside the disc."""
    return distance_cost(actions) + 20.0 * jnp.maximum(intrusion(actions), 0.0).sum(1)


def moves_cost(choices: Float[Array, "N H 5"]) -> Float[Array, " N"]:
    """`cost` of one-hot choices among the moves, or of mixtures of them."""
    return cost(choices @ jnp.asarray(_DIRECTIONS))


def report(name: str, actions: Float[Array, "H 2"]) -> None:
    """Print what a plan costs and where it ends."""
    end = path(actions)[-1]
    before, after = cost(jnp.stack([jnp.zeros((HORIZON, 2)), actions]))
    print(f"{name}: cost {before:.2f} -> {after:.3f}, ends at ({end[0]:+.2f}, {end[1]:+.2f}), goal (+1.00, +0.00)")
