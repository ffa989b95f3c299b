"""Projected gradient descent on relaxed choices: which of four gears to use at each of 20 steps, rarely shifting.

python examples/pgd.py
"""

import gymnasium
import jax
import jax.numpy as jnp

from swmjax.planning import PGDSolver, one_hot, solve

GEARS, HORIZON = gymnasium.spaces.Discrete(4), 20
WEAR = jax.random.uniform(jax.random.key(1), (HORIZON, 4))


def cost(choices):
    """Wear of the chosen gears [N, H, 4], one-hot or mixed, and of shifting between them."""
    wear = (choices * WEAR[None]).sum((1, 2))
    return wear + 0.1 * jnp.square(choices[:, 1:] - choices[:, :-1]).sum((1, 2))


solver = PGDSolver(n_steps=100, num_samples=8, var_scale=0.3, learning_rate=0.5)
plan = jax.jit(lambda key: solve(solver, cost, GEARS, key, HORIZON))(jax.random.key(0))
greedy = one_hot(WEAR.argmin(1)[:, None], GEARS)
planned = one_hot(plan.actions, GEARS)
print(f"PGDSolver: gears {plan.actions[:, 0].tolist()}")
print(
    f"cost {cost(planned[None])[0]:.3f} (relaxed {plan.cost:.3f}, least wear at every step {cost(greedy[None])[0]:.3f})"
)
