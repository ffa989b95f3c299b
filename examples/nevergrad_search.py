"""Any optimiser of nevergrad: the search runs on the host, populations are scored by one compiled call.

pip install 'swmjax[search]' && python examples/nevergrad_search.py
"""

import jax
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import NevergradSolver, solve

solver = NevergradSolver(optimizer="DiagonalCMA", num_samples=64, n_steps=30)
plan = solve(solver, cost, SPACE, jax.random.key(0), HORIZON)
report("NevergradSolver", plan.actions)
