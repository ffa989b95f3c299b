"""Predictive sampling: the best of one population.

python examples/predictive_sampling.py
"""

import jax
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import PredictiveSamplingSolver, solve

solver = PredictiveSamplingSolver(num_samples=4096)
plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, HORIZON))(jax.random.key(0))
report("PredictiveSamplingSolver", plan.actions)
