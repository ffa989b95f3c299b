"""GRASP: states and actions are optimised together, so that long horizons need no long rollouts.

python examples/grasp.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box

from swmjax.planning import GRASPSolver, Transitions, solve

SPACE = Box(-2.0, 2.0, (2,), np.float32)
HORIZON = 40
GOAL = jnp.asarray([3.0, 1.0, 0.0, 0.0])


def predict(states, actions):
    """One step of a point mass: positions and velocities [T, 4] under accelerations [T, 2]."""
    velocity = states[:, 2:] + 0.1 * actions
    return jnp.concatenate([states[:, :2] + 0.1 * velocity, velocity], axis=1)


def rollout(candidates):
    """States that candidates lead to, [N, H, 4]."""

    def move(states, actions):
        states = predict(states, actions)
        return states, states

    start = jnp.zeros((candidates.shape[0], 4))
    return jnp.moveaxis(jax.lax.scan(move, start, jnp.moveaxis(candidates, 1, 0))[1], 0, 1)


steps = Transitions(start=jnp.zeros(4), goal=GOAL, predict=predict, rollout=rollout)
solver = GRASPSolver(n_steps=600, sync_steps=50, sync_lr=0.1)
plan = jax.jit(lambda key: solve(solver, steps.goal_distance, SPACE, key, HORIZON, transitions=steps))(
    jax.random.key(0)
)
end = ", ".join(f"{x:+.2f}" for x in rollout(plan.actions[None])[0, -1])
print(f"GRASPSolver: cost {plan.cost:.4f}, ends at ({end}), goal (+3.00, +1.00, +0.00, +0.00)")
