"""A Dict action space: a gear is chosen at every step beside the acceleration, each part by its own solver.

python examples/composite.py
"""

import gymnasium
import jax
import jax.numpy as jnp
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import CategoricalCEMSolver, CEMSolver, CompositeSolver, solve

SPACES = gymnasium.spaces.Dict({"push": SPACE, "gear": gymnasium.spaces.Discrete(3)})
STRENGTHS = jnp.asarray([0.25, 0.5, 1.0])


def joint_cost(candidates):
    """Cost of pushes in the gears [N, H, 3] that go with them; a higher gear costs more."""
    strength = candidates["gear"] @ STRENGTHS
    return cost(candidates["push"] * strength[..., None]) + 0.02 * strength.sum(1)


solver = CompositeSolver({"push": CEMSolver(num_samples=512), "gear": CategoricalCEMSolver(num_samples=512)})
plan = jax.jit(lambda key: solve(solver, joint_cost, SPACES, key, HORIZON))(jax.random.key(0))
gears = plan.actions["gear"][:, 0]
report("CompositeSolver", plan.actions["push"] * STRENGTHS[gears][:, None])
print(f"gears: {gears.tolist()}")
