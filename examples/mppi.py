"""Model-predictive path integral control.

python examples/mppi.py
"""

import jax
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import MPPISolver, solve

solver = MPPISolver(num_samples=256, temperature=0.1)
plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, HORIZON))(jax.random.key(0))
report("MPPISolver", plan.actions)
