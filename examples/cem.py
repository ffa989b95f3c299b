"""The cross-entropy method.

python examples/cem.py
"""

import jax
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import CEMSolver, solve

solver = CEMSolver(num_samples=256)
plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, HORIZON))(jax.random.key(0))
report("CEMSolver", plan.actions)
