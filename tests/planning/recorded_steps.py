"""Runs of the reference in which every iteration was recorded, see `tests/golden/make_solver_goldens.py`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from planning.recorded import replay, run
from planning.recorded_costs import recorded_noise

GOLDEN = Path(__file__).parents[1] / "golden"
BLOCK, ACTION, HORIZON = 2, 2, 5


def run_recorded(name, solver, cost, space=None):
    """The solver with the draws of one run: (what was recorded, states, plan, records), all by problem and step."""
    golden = dict(np.load(GOLDEN / f"solver_{name}.npz"))
    space = space or Box(np.tile(golden["in_low"], BLOCK), np.tile(golden["in_high"], BLOCK))
    noise = recorded_noise(golden, [2, 1], solver.n_steps)
    noise = noise.reshape(*noise.shape[:4], -1)
    warm_start = golden.get("in_init_action")

    @jax.jit
    @jax.vmap
    def recorded(noise, problem, warm_start):
        return run(replay(solver, noise), lambda actions: cost(problem, actions), space, HORIZON, warm_start)

    problems = jnp.asarray(golden["in_problem"])
    states, plan, records = recorded(noise, problems, None if warm_start is None else jnp.asarray(warm_start))
    return golden, states, plan, records


def assert_costs(golden, plan, records):
    """The costs of all candidates in all iterations, and the cost and the actions of the answer."""
    np.testing.assert_allclose(records.costs, golden["costs"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)
    np.testing.assert_allclose(plan.actions, golden["out_actions"], atol=1e-5)


def assert_gaussian(golden, states, records):
    """Mean, standard deviation and elites of all iterations."""
    np.testing.assert_allclose(states.mean, golden["mean"], atol=1e-5)
    np.testing.assert_allclose(states.std, golden["var"], atol=1e-5)
    np.testing.assert_array_equal(records.elites, golden["topk_inds"])
