"""CEM against recorded runs of the reference, and its rules one by one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded import replay, run
from planning.recorded_costs import quad, recorded_noise, wavy

from envs_mjx.checks import check_choice, check_integer
from swmjax.planning import BestCost, CEMSolver, Status, solve
from swmjax.planning.metrics import VarNorm
from swmjax.planning.scoring import Scorer

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (4,), np.float32)


@pytest.mark.parametrize(
    ("name", "cost", "batch_sizes"), [("cem_quad", quad, [1, 1, 1]), ("cem_wavy_warm", wavy, [2, 1])]
)
def test_recorded_noise_reproduces_the_reference(name, cost, batch_sizes):
    golden = np.load(GOLDEN / f"solver_{name}.npz")
    solver = CEMSolver(num_samples=40, n_steps=5, topk=6)
    noise = recorded_noise(golden, batch_sizes, solver.n_steps)
    warm_start = jnp.asarray(golden["in_init_action"]) if "in_init_action" in golden else jnp.zeros((3, 6, 4))

    @jax.jit
    @jax.vmap
    def recorded(noise, target, warm_start):
        return run(replay(solver, noise), lambda actions: cost(target, actions), SPACE, noise.shape[2], warm_start)

    states, plan, _ = recorded(noise, jnp.asarray(golden["in_target"]), warm_start)
    np.testing.assert_allclose(plan.actions, golden["out_actions"], atol=1e-5)
    np.testing.assert_allclose(states.std[:, -1], golden["out_var"], atol=1e-5)
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)
    np.testing.assert_array_equal(plan.cost, states.cost[:, -1])


def candidates_of_one_step(solver, **kwargs):
    seen = []
    state = solver.init(jax.random.key(3), SPACE, 6, **kwargs)

    def cost(actions):
        seen.append(actions)
        return quad(jnp.full((6, 4), 0.2), actions)

    return state, solver.step(state, Scorer(cost))[0], seen[0]


def test_first_candidate_is_the_mean_and_nothing_is_clipped():
    warm_start = jnp.full((2, 4), 3.0)
    state, _, candidates = candidates_of_one_step(CEMSolver(num_samples=50, topk=5), warm_start=warm_start)
    np.testing.assert_array_equal(candidates[0], state.mean)
    np.testing.assert_array_equal(state.mean, np.pad(warm_start, ((0, 4), (0, 0))))
    assert jnp.max(jnp.abs(candidates[1:, 2:])) > 1


def test_clip_to_bounds_holds_for_every_candidate():
    solver = CEMSolver(num_samples=50, topk=5, clip="bounds")
    state, _, candidates = candidates_of_one_step(solver, warm_start=jnp.full((2, 4), 3.0))
    assert jnp.max(jnp.abs(candidates)) == 1
    np.testing.assert_array_equal(candidates[0], np.clip(state.mean, -1, 1))


def test_var_scale_is_the_initial_standard_deviation():
    _, _, candidates = candidates_of_one_step(CEMSolver(num_samples=4000, topk=5, var_scale=0.5))
    np.testing.assert_allclose(jnp.std(candidates), 0.5, rtol=0.02)


def test_refit_takes_mean_and_bessel_std_of_the_elites():
    _, after, candidates = candidates_of_one_step(CEMSolver(num_samples=50, topk=5))
    costs = np.asarray(quad(jnp.full((6, 4), 0.2), candidates))
    elites = np.asarray(candidates)[np.argsort(costs)[:5]]
    np.testing.assert_allclose(after.mean, elites.mean(0), atol=1e-6)
    np.testing.assert_allclose(after.std, elites.std(0, ddof=1), atol=1e-6)
    np.testing.assert_allclose(after.cost, np.sort(costs)[:5].mean(), rtol=1e-6)


def test_a_single_elite_gives_zero_spread():
    plan = solve(
        CEMSolver(num_samples=20, n_steps=3, topk=1),
        lambda a: quad(jnp.zeros((6, 4)), a),
        SPACE,
        jax.random.key(0),
        horizon=6,
        metrics=(VarNorm(), BestCost()),
    )
    assert plan.status == Status.OK
    np.testing.assert_array_equal(plan.trace["var_norm"], 0)
    np.testing.assert_allclose(plan.trace["best_cost"], plan.cost)


def test_fewer_finite_candidates_than_elites():
    solver = CEMSolver(num_samples=10, topk=5)

    def cost(actions):
        return jnp.where(jnp.arange(10) < 2, quad(jnp.zeros((6, 4)), actions), jnp.nan)

    state = solver.init(jax.random.key(0), SPACE, 6)
    seen = []
    after, record = solver.step(state, Scorer(lambda a: (seen.append(a), cost(a))[1]))
    np.testing.assert_allclose(after.mean, seen[0][:2].mean(0), atol=1e-6)
    np.testing.assert_allclose(after.std, np.std(seen[0][:2], axis=0, ddof=1), atol=1e-6)
    assert jnp.isinf(record.costs).sum() == 8


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_samples", 0, "CEMSolver.num_samples must be at least 1, got 0"),
        ("n_steps", 0, "CEMSolver.n_steps must be at least 1"),
        ("topk", 301, r"CEMSolver.topk must be at most num_samples \(300\), got 301"),
        ("var_scale", -1.0, "CEMSolver.var_scale must be a finite number of at least 0"),
        ("var_scale", float("nan"), "CEMSolver.var_scale must be a finite number"),
    ],
)
def test_hyperparameters_are_validated(field, value, message):
    with pytest.raises(ValueError, match=message):
        CEMSolver(**{field: value})


@pytest.mark.parametrize("value", [2.5, "300", True, None])
def test_wrong_types_are_named(value):
    with pytest.raises(ValueError, match=f"CEMSolver.topk must be an integer, got {value!r}"):
        check_integer("CEMSolver.topk", value, 1)


def test_wrong_choices_are_named():
    with pytest.raises(ValueError, match="CEMSolver.clip must be one of 'none', 'bounds', got 'tanh'"):
        check_choice("CEMSolver.clip", "tanh", ("none", "bounds"))
