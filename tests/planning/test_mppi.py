"""MPPI against recorded runs of the reference, and its rules one by one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded import replay, run
from planning.recorded_costs import quad, recorded_noise, wavy
from planning.recorded_steps import assert_costs, run_recorded

from swmjax.planning import MPPISolver, Status, make_solver, solve
from swmjax.planning.scoring import Scorer

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (4,), np.float32)
TARGET = jnp.linspace(-0.7, 0.9, 20).reshape(5, 4)


def cost(actions):
    return quad(TARGET.astype(actions.dtype), actions)


def test_recorded_noise_reproduces_the_reference():
    golden = np.load(GOLDEN / "solver_mppi_wavy.npz")
    solver = MPPISolver(num_samples=40, n_steps=5, topk=20, temperature=20.0)
    noise = recorded_noise(golden, [1, 1, 1], solver.n_steps)

    @jax.jit
    @jax.vmap
    def recorded(noise, target):
        return run(replay(solver, noise), lambda actions: wavy(target, actions), SPACE, 6)

    _, plan, _ = recorded(noise, jnp.asarray(golden["in_target"]))
    np.testing.assert_allclose(plan.actions, golden["out_actions"], atol=1e-5)
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "cost_fn", "options"),
    [
        ("mppi_steps", wavy, {"topk": 8, "temperature": 2.0, "var_scale": 0.6}),
        ("mppi_all", quad, {"topk": None, "temperature": 0.5}),
    ],
)
def test_every_iteration_is_that_of_the_reference(name, cost_fn, options):
    golden, states, plan, records = run_recorded(name, MPPISolver(num_samples=24, n_steps=4, **options), cost_fn)
    assert_costs(golden, plan, records)
    np.testing.assert_allclose(records.candidates[:, :, 0], golden["first"], atol=1e-5)
    np.testing.assert_allclose(states.mean[:, :-1], golden["first"][:, 1:], atol=1e-5)


def one_step(solver, cost_fn=cost, **kwargs):
    state = solver.init(jax.random.key(0), SPACE, 5, **kwargs)
    return jax.jit(lambda state: solver.step(state, Scorer(cost_fn)))(state)


def test_weights_are_those_of_the_temperature():
    after, record = one_step(MPPISolver(num_samples=16, topk=None, temperature=3.0))
    costs, candidates = np.asarray(record.costs, float), np.asarray(record.candidates, float)
    weights = np.exp(-(costs - costs.min()) / 3)
    mean = (weights[:, None, None] * candidates).sum(0) / weights.sum()
    np.testing.assert_allclose(after.mean, mean, atol=1e-6)
    np.testing.assert_allclose(after.cost, costs.mean(), rtol=1e-6)


def test_candidates_without_a_finite_cost_have_no_weight():
    def spoiled(actions):
        return jnp.where(jnp.arange(16) % 4 == 1, cost(actions), jnp.asarray([jnp.nan, 0, -jnp.inf, jnp.inf] * 4))

    after, record = one_step(MPPISolver(num_samples=16, topk=8, temperature=1e9), spoiled)
    np.testing.assert_allclose(after.mean, record.candidates[1::4].mean(0), atol=1e-5)
    np.testing.assert_allclose(after.cost, record.costs[1::4].mean(), rtol=1e-6)


def test_a_low_temperature_takes_the_best_candidate():
    after, record = one_step(MPPISolver(num_samples=16, topk=None, temperature=1e-6))
    np.testing.assert_allclose(after.mean, record.candidates[jnp.argmin(record.costs)], atol=1e-6)


def test_clip_to_bounds_is_an_option():
    warm_start = jnp.full((2, 4), 3.0)
    _, free = one_step(MPPISolver(num_samples=16, topk=4), warm_start=warm_start)
    np.testing.assert_array_equal(free.candidates[0, :2], warm_start)
    _, clipped = one_step(MPPISolver(num_samples=16, topk=4, clip="bounds"), warm_start=warm_start)
    assert jnp.max(jnp.abs(clipped.candidates)) == 1


def test_a_shift_of_the_cost_changes_nothing():
    solver = MPPISolver(num_samples=30, n_steps=4, topk=10, temperature=2.0)
    plans = [solve(solver, lambda a, s=s: cost(a) + s, SPACE, jax.random.key(2), 5) for s in (0.0, 64.0)]
    np.testing.assert_allclose(plans[0].actions, plans[1].actions, atol=1e-4)


def test_comes_near_the_optimum():
    solver = MPPISolver(num_samples=400, n_steps=40, var_scale=0.2, temperature=0.05)
    plan = solve(solver, cost, SPACE, jax.random.key(0), 5)
    assert plan.status == Status.OK
    np.testing.assert_allclose(plan.actions, TARGET, atol=0.2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("topk", 301, r"MPPISolver.topk must be at most num_samples \(300\), got 301"),
        ("topk", 0, "MPPISolver.topk must be at least 1, got 0"),
        ("temperature", 0.0, "MPPISolver.temperature must be above 0"),
        ("temperature", -1.0, "MPPISolver.temperature must be a finite number"),
        ("var_scale", float("inf"), "MPPISolver.var_scale must be a finite number"),
    ],
)
def test_hyperparameters_are_validated(field, value, message):
    with pytest.raises(ValueError, match=message):
        MPPISolver(**{field: value})


@pytest.mark.parametrize(("text", "topk"), [("none", None), (None, None), ("12", 12), (12, 12)])
def test_number_of_weighted_candidates_as_text(text, topk):
    assert make_solver("mppi", {"topk": text}) == MPPISolver(topk=topk)
    with pytest.raises(ValueError, match="solver.topk must be an integer, got 'some'"):
        make_solver("mppi", {"topk": "some"})
