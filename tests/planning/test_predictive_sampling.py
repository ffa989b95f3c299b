"""Predictive sampling against recorded runs of the reference, and its rules one by one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded import replay, run
from planning.recorded_costs import quad, recorded_noise, wavy
from planning.recorded_steps import assert_costs, run_recorded

from swmjax.planning import PredictiveSamplingSolver, solve
from swmjax.planning.scoring import Scorer

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (4,), np.float32)
TARGET = jnp.linspace(-0.7, 0.9, 20).reshape(5, 4)


def cost(actions):
    return quad(TARGET.astype(actions.dtype), actions)


def test_recorded_noise_reproduces_the_reference():
    golden = np.load(GOLDEN / "solver_predictive_sampling.npz")
    solver = PredictiveSamplingSolver(num_samples=40, noise_scale=0.5)
    noise = recorded_noise(golden, [1, 1, 1], 1)

    @jax.jit
    @jax.vmap
    def recorded(noise, target, warm_start):
        return run(replay(solver, noise), lambda actions: wavy(target, actions), SPACE, 6, warm_start)

    _, plan, _ = recorded(noise, jnp.asarray(golden["in_target"]), jnp.asarray(golden["in_init_action"]))
    np.testing.assert_allclose(plan.actions, golden["out_actions"], atol=1e-5)
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)


def test_a_partial_batch_of_the_reference():
    solver = PredictiveSamplingSolver(num_samples=24, noise_scale=0.4)
    golden, _, plan, records = run_recorded("predictive_steps", solver, wavy)
    assert_costs(golden, plan, records)


def test_never_worse_than_the_warm_start_and_better_every_round():
    # So near the optimum that noise of this size is rarely an improvement.
    solver = PredictiveSamplingSolver(num_samples=8, noise_scale=0.02, n_steps=20)
    near = TARGET + 0.03
    plan = solve(solver, cost, SPACE, jax.random.key(0), 5, near)
    best = np.asarray(plan.trace["best_cost"])
    assert best[0] <= cost(near[None])[0]
    assert (np.diff(best) <= 0).all()
    assert best[-1] < best[0]
    np.testing.assert_allclose(plan.cost, cost(plan.actions[None])[0], rtol=1e-6)


def test_clip_to_bounds_is_an_option():
    for clip, largest in (("bounds", 1.0), ("none", 3.0)):
        solver = PredictiveSamplingSolver(num_samples=8, noise_scale=0.0, clip=clip)
        state = solver.init(jax.random.key(0), SPACE, 5, jnp.full((2, 4), 3.0))
        _, record = solver.step(state, Scorer(cost))
        assert jnp.max(jnp.abs(record.candidates)) == largest


def test_a_shift_of_the_cost_changes_nothing():
    solver = PredictiveSamplingSolver(num_samples=30, n_steps=3, noise_scale=0.3)
    plans = [solve(solver, lambda a, s=s: cost(a) + s, SPACE, jax.random.key(2), 5) for s in (0.0, 64.0)]
    np.testing.assert_array_equal(plans[0].actions, plans[1].actions)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_samples", 0, "PredictiveSamplingSolver.num_samples must be at least 1, got 0"),
        ("n_steps", 0, "PredictiveSamplingSolver.n_steps must be at least 1, got 0"),
        ("noise_scale", -0.1, "PredictiveSamplingSolver.noise_scale must be a finite number of at least 0"),
    ],
)
def test_hyperparameters_are_validated(field, value, message):
    with pytest.raises(ValueError, match=message):
        PredictiveSamplingSolver(**{field: value})
