"""Random shooting: the baseline that every solver has to beat.

python examples/random_shooting.py
"""

import jax
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import RandomSolver, solve

solver = RandomSolver(num_samples=4096)
plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, HORIZON))(jax.random.key(0))
report("RandomSolver", plan.actions)
