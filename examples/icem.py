"""iCEM, the cross-entropy method with coloured noise and kept elites.

python examples/icem.py
"""

import jax
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import ICEMSolver, solve

solver = ICEMSolver(num_samples=256)
plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, HORIZON))(jax.random.key(0))
report("ICEMSolver", plan.actions)
