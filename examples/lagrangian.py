"""Planning under constraints: stay out of the disc and inside the action space, instead of paying for it.

python examples/lagrangian.py
"""

import jax
import jax.numpy as jnp
from navigation import HORIZON, SPACE, distance_cost, intrusion, report

from swmjax.planning import LagrangianSolver, solve


def constraints(actions):
    """At most 0 when the path stays outside the disc and no acceleration is above 1."""
    return jnp.stack([intrusion(actions).max(1), jnp.abs(actions).max((1, 2)) - 1.0], axis=-1)


solver = LagrangianSolver(
    n_inner_steps=60, n_outer_steps=8, num_samples=8, var_scale=0.5, learning_rate=0.05, method="standard",
    selection="feasible", tolerance=0.01,
)  # fmt: skip
plan = jax.jit(
    lambda key: solve(solver, distance_cost, SPACE, key, HORIZON, constraint_fn=constraints)
)(jax.random.key(0))  # fmt: skip
report("LagrangianSolver", plan.actions)
print(f"violation of the two constraints: {plan.carry.violation}")
