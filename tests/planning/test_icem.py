"""iCEM against recorded runs of the reference, and its rules one by one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded import replay, run
from planning.recorded_costs import quad, recorded_noise, wavy
from planning.recorded_steps import assert_costs, assert_gaussian, run_recorded

from swmjax.planning import ICEMSolver, Status, solve
from swmjax.planning.metrics import VarNorm
from swmjax.planning.scoring import Scorer
from swmjax.planning.solvers.icem import colored

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (4,), np.float32)
TARGET = jnp.linspace(-0.7, 0.9, 20).reshape(5, 4)


def cost(actions):
    return quad(TARGET.astype(actions.dtype), actions)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("icem_wavy", {"n_steps": 5, "n_elite_keep": 3}),
        ("icem_best", {"n_steps": 4, "n_elite_keep": 2, "noise_beta": 1.0, "alpha": 0.2, "return_mean": False}),
    ],
)
def test_recorded_noise_reproduces_the_reference(name, options):
    golden = np.load(GOLDEN / f"solver_{name}.npz")
    solver = ICEMSolver(num_samples=40, topk=6, **options)
    noise = recorded_noise(golden, [1, 1, 1], solver.n_steps)
    warm_start = jnp.asarray(golden["in_init_action"]) if "in_init_action" in golden else jnp.zeros((3, 6, 4))

    @jax.jit
    @jax.vmap
    def recorded(noise, target, warm_start):
        return run(replay(solver, noise), lambda actions: wavy(target, actions), SPACE, 6, warm_start)

    states, plan, _ = recorded(noise, jnp.asarray(golden["in_target"]), warm_start)
    np.testing.assert_allclose(plan.actions, golden["out_actions"], atol=1e-5)
    np.testing.assert_allclose(states.std[:, -1], golden["out_var"], atol=1e-5)
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "cost_fn", "options"),
    [
        ("icem_steps", wavy, {"topk": 5, "noise_beta": 1.5, "n_elite_keep": 3}),
        ("icem_white", quad, {"topk": 4, "noise_beta": 0.0, "alpha": 0.0, "n_elite_keep": 9, "var_scale": 0.5}),
    ],
)
def test_every_iteration_is_that_of_the_reference(name, cost_fn, options):
    golden, states, plan, records = run_recorded(name, ICEMSolver(num_samples=24, n_steps=4, **options), cost_fn)
    assert_costs(golden, plan, records)
    assert_gaussian(golden, states, records)
    np.testing.assert_allclose(records.candidates[:, :, 0], golden["first"], atol=1e-5)


def steps_of(solver, count, cost_fn=cost, key=0, **kwargs):
    """States before and after the first steps, and the records of these."""
    state = solver.init(jax.random.key(key), SPACE, 5, **kwargs)
    step = jax.jit(lambda state: solver.step(state, Scorer(cost_fn)))
    states, records = [state], []
    for _ in range(count):
        state, record = step(state)
        states.append(state)
        records.append(record)
    return states, records


def test_elites_stay_in_the_population():
    _, (first, second) = steps_of(ICEMSolver(num_samples=30, topk=6, n_elite_keep=4), 2)
    np.testing.assert_array_equal(second.candidates[1:5], first.candidates[first.elites[:4]])
    assert not np.isin(second.candidates[5:], first.candidates).all(axis=(1, 2)).any()


def test_clipping_is_the_default_and_an_option():
    warm_start = jnp.full((2, 4), 3.0)
    _, (clipped,) = steps_of(ICEMSolver(num_samples=50, topk=5), 1, warm_start=warm_start)
    assert jnp.max(jnp.abs(clipped.candidates)) == 1
    _, (free,) = steps_of(ICEMSolver(num_samples=50, topk=5, clip="none"), 1, warm_start=warm_start)
    np.testing.assert_array_equal(free.candidates[0, :2], warm_start)


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_noise_has_unit_spread_over_time_and_falls_with_frequency(beta):
    noise = colored(jax.random.normal(jax.random.key(0), (2000, 16)), beta)
    np.testing.assert_allclose(jnp.std(noise, axis=-1, ddof=1), 1, atol=1e-5)
    # In the logarithm, scaling a sequence to unit spread moves all of its frequencies alike.
    power = np.mean(np.log(np.abs(np.fft.rfft(noise)) ** 2), axis=0)[1:8]
    np.testing.assert_allclose(np.polyfit(np.log(np.arange(1, 8)), power, 1)[0], -beta, atol=0.1)


def test_horizon_of_one_draws_white_noise():
    plan = solve(
        ICEMSolver(num_samples=64, n_steps=8, topk=8),
        lambda actions: quad(TARGET[:1], actions),
        SPACE,
        jax.random.key(0),
        horizon=1,
    )
    assert plan.status == Status.OK
    np.testing.assert_allclose(plan.actions, TARGET[:1], atol=0.1)


def test_a_single_elite_shrinks_the_spread_by_the_momentum():
    solver = ICEMSolver(num_samples=20, n_steps=3, topk=1, alpha=0.5)
    plan = solve(solver, cost, SPACE, jax.random.key(0), horizon=5, metrics=(VarNorm(),))
    np.testing.assert_allclose(plan.trace["var_norm"], [0.5, 0.25, 0.125], rtol=1e-6)


def test_best_candidate_is_returned_with_its_own_cost():
    options = {"num_samples": 30, "topk": 6, "n_steps": 3}
    solver = ICEMSolver(return_mean=False, **options)
    states, records = steps_of(solver, 3)
    plan = solver.finish(states[-1], Scorer(cost))
    best = int(jnp.argmin(records[-1].costs))
    np.testing.assert_array_equal(plan.actions, records[-1].candidates[best])
    np.testing.assert_array_equal(plan.cost, records[-1].costs[best])


def test_decayed_populations_count_fewer_candidates():
    _, records = steps_of(ICEMSolver(num_samples=40, n_steps=4, topk=5, population_decay=2.0), 4)
    counted = [int(jnp.isfinite(record.costs).sum()) for record in records]
    assert counted == [40, 20, 10, 10]
    for record, count in zip(records, counted, strict=True):
        assert int(record.elites.max()) < count


def test_shifted_elites_start_the_next_solve():
    solver = ICEMSolver(num_samples=30, n_steps=2, topk=6, n_elite_keep=4, shift_elites=2)
    states, _ = steps_of(solver, 2)
    kept = solver.finish(states[-1], Scorer(cost)).carry
    assert kept.steps == 3
    _, (first, _) = steps_of(solver, 2, key=1, carry=kept)
    _, (fresh, _) = steps_of(solver, 2, key=1)
    np.testing.assert_array_equal(first.candidates[1:5, :3], states[-1].kept.actions[:, 2:])
    # The end of the sequence is not known yet: it is the sample that stood there.
    np.testing.assert_array_equal(first.candidates[1:5, 3:], fresh.candidates[1:5, 3:])
    np.testing.assert_array_equal(first.candidates[5:], fresh.candidates[5:])
    assert ICEMSolver(num_samples=30, topk=6).finish(states[-1], Scorer(cost)).carry is None


def test_populations_without_a_finite_cost_leave_the_elites_alone():
    solver = ICEMSolver(num_samples=30, topk=6, n_elite_keep=4)
    states, _ = steps_of(solver, 1)
    failed, record = solver.step(states[-1], Scorer(lambda actions: jnp.full(30, jnp.nan)))
    assert jnp.isinf(record.costs).all()
    for before, after in zip(jax.tree.leaves(states[-1].kept), jax.tree.leaves(failed.kept), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(failed.mean, states[-1].mean)


def test_a_shift_of_the_cost_changes_nothing():
    solver = ICEMSolver(num_samples=30, n_steps=4, topk=6)
    plans = [solve(solver, lambda a, s=s: cost(a) + s, SPACE, jax.random.key(2), 5) for s in (0.0, 64.0)]
    np.testing.assert_allclose(plans[0].actions, plans[1].actions, atol=1e-5)
    np.testing.assert_allclose(plans[0].cost + 64, plans[1].cost, rtol=1e-5)


def test_reaches_the_constrained_optimum_of_a_box():
    target = jnp.asarray([[2.0, -0.4, 0.3, -3.0]] * 5)
    plan = solve(ICEMSolver(), lambda a: quad(target, a), SPACE, jax.random.key(0), horizon=5)
    np.testing.assert_allclose(plan.actions, jnp.clip(target, -1, 1), atol=0.02)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("topk", 301, r"ICEMSolver.topk must be at most num_samples \(300\), got 301"),
        ("alpha", 1.5, "ICEMSolver.alpha must be at most 1, got 1.5"),
        ("alpha", -0.5, "ICEMSolver.alpha must be a finite number of at least 0"),
        ("noise_beta", float("nan"), "ICEMSolver.noise_beta must be a finite number"),
        ("population_decay", 0.5, "ICEMSolver.population_decay must be at least 1, got 0.5"),
        ("n_elite_keep", -1, "ICEMSolver.n_elite_keep must be at least 0"),
        ("shift_elites", -1, "ICEMSolver.shift_elites must be at least 0"),
    ],
)
def test_hyperparameters_are_validated(field, value, message):
    with pytest.raises(ValueError, match=message):
        ICEMSolver(**{field: value})
