"""Gradient descent through the model, from several starts.

python examples/gradient.py
"""

import jax
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import GradientSolver, solve

solver = GradientSolver(n_steps=100, num_samples=8, var_scale=0.5, optimizer="adam", learning_rate=0.1)
plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, HORIZON))(jax.random.key(0))
report("GradientSolver", plan.actions)
