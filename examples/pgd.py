"""Projected gradient descent on relaxed choices among five moves.

python examples/pgd.py
"""

import jax
from navigation import HORIZON, MOVES, moves_cost

from swmjax.planning import PGDSolver, one_hot, solve

solver = PGDSolver(n_steps=100, num_samples=16, var_scale=0.5, learning_rate=0.02)
plan = jax.jit(lambda key: solve(solver, moves_cost, MOVES, key, HORIZON))(jax.random.key(0))
found = moves_cost(one_hot(plan.actions, MOVES)[None])[0]
print(f"PGDSolver: moves {plan.actions[:, 0].tolist()}, cost {found:.3f} (relaxed {plan.cost:.3f})")
