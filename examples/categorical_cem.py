"""Categorical CEM: choose one of five moves at every step.

python examples/categorical_cem.py
"""

import jax
from navigation import HORIZON, MOVES, moves_cost

from swmjax.planning import CategoricalCEMSolver, one_hot, solve

solver = CategoricalCEMSolver(num_samples=512, smoothing=0.01, alpha=0.1)
plan = jax.jit(lambda key: solve(solver, moves_cost, MOVES, key, HORIZON))(jax.random.key(0))
found = moves_cost(one_hot(plan.actions, MOVES)[None])[0]
print(f"CategoricalCEMSolver: moves {plan.actions[:, 0].tolist()}, cost {found:.3f}")
