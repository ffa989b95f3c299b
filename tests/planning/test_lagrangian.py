"""The augmented Lagrangian against recorded runs of the reference, and against optima with known multipliers."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium.spaces import Box
from planning.recorded import replay, run
from planning.recorded_costs import constraints, quad, wavy
from planning.recorded_descent import descent_noise

from swmjax.planning import CEMSolver, GradientSolver, LagrangianSolver, Status, solve, solve_batch
from swmjax.planning.solvers.lagrangian import LagrangianCarry

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (2,), np.float32)
WIDE = Box(-1.0, 1.0, (4,), np.float32)
TARGET = jnp.asarray([[2.0, 0.5], [-0.3, -1.5]])
# Steps below 2 / 18, the greatest curvature of these problems with their penalties.
STANDARD = LagrangianSolver(
    n_inner_steps=40,
    n_outer_steps=12,
    optimizer="sgd",
    learning_rate=0.05,
    rho_init=2.0,
    rho_scale=1.0,
    method="standard",
)


def to_target(actions):
    return quad(TARGET, actions)


def inside_the_box(actions):
    """a <= 1 and -a <= 1 for every entry; at the optimum of `to_target` two bind, with multipliers 2 (|target| - 1)."""
    flat = actions.reshape(actions.shape[0], -1)
    return jnp.concatenate([flat - 1, -flat - 1], axis=1)


def plan_for(solver, cost_fn=to_target, **kwargs):
    return solve(solver, cost_fn, SPACE, jax.random.key(0), 2, **kwargs)


def test_recorded_noise_reproduces_the_reference():
    """In float64: Adam makes whole steps of gradients that are rounding errors, 2e-5 of one cost in float32."""
    golden = np.load(GOLDEN / "solver_lagrangian.npz")
    solver = LagrangianSolver(n_inner_steps=6, n_outer_steps=4, num_samples=2, var_scale=0.5, learning_rate=0.05)

    @jax.jit
    @jax.vmap
    def recorded(noise, target):
        warm_start = jnp.zeros((1, 4), target.dtype)
        return run(replay(solver, noise), functools.partial(quad, target), WIDE, 6, warm_start, constraints)

    with jax.enable_x64(True):
        noise, target = (golden[name].astype(np.float64) for name in ("draw0", "in_target"))
        states, plan, _ = recorded(descent_noise(noise), jnp.asarray(target))
        last = jax.vmap(constraints)(states.descent.iterates[:, -1])
        np.testing.assert_allclose(plan.actions, golden["out_actions"], atol=1e-5)
        np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)
        np.testing.assert_allclose(plan.carry.multipliers, golden["out_lambdas"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(jnp.mean(jnp.maximum(last, 0)), golden["out_constraint_violation"][0], rtol=1e-5)


def test_every_iteration_of_two_solves_that_share_multipliers():
    golden = np.load(GOLDEN / "lagrangian_persist.npz")
    solver = LagrangianSolver(
        n_inner_steps=3,
        n_outer_steps=3,
        num_samples=2,
        var_scale=0.5,
        action_noise=0.05,
        rho_init=0.5,
        rho_max=1.5,
        learning_rate=0.05,
    )

    @jax.jit
    @jax.vmap
    def recorded(noise, target, carry):
        cost_fn = functools.partial(wavy, target)
        return run(replay(solver, noise), cost_fn, WIDE, 4, None, constraints, LagrangianCarry(**carry))

    zeros = jnp.zeros((2, 2))
    carry = LagrangianCarry(multipliers=zeros, violation=zeros)
    target = jnp.asarray(golden["in_target"])
    for number in range(2):
        noise = descent_noise(*(golden[f"draw{10 * number + i}"] for i in range(10)))
        states, plan, records = recorded(noise, target, {"multipliers": carry.multipliers, "violation": zeros})
        calls = slice(9 * number, 9 * number + 9)
        np.testing.assert_allclose(jnp.moveaxis(records.candidates, 0, 1), golden["params"][calls], atol=1e-5)
        np.testing.assert_allclose(jnp.moveaxis(records.costs, 0, 1), golden["costs"][calls], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(states.descent.iterates[:, -1], golden[f"final{number}"], atol=1e-5)
        np.testing.assert_allclose(plan.carry.multipliers, golden[f"lambdas{number}"], rtol=1e-5, atol=1e-5)
        carry = plan.carry
    assert golden["lambdas0"].max() > 0.1
    forgetful = dataclasses.replace(solver, persist_multipliers=False)
    for one, size in ((solver, 2), (forgetful, 0)):
        kept = LagrangianCarry(multipliers=jnp.ones(2), violation=jnp.zeros(2))
        assert one.init(jax.random.key(0), WIDE, 4, carry=kept).multipliers.shape == (2, size)


def test_box_constraints_reach_the_optimum_and_its_multipliers():
    plan = plan_for(STANDARD, constraint_fn=inside_the_box)
    np.testing.assert_allclose(plan.actions, jnp.clip(TARGET, -1, 1), atol=1e-3)
    wanted = np.zeros(8)
    wanted[0], wanted[7] = 2 * (2.0 - 1), 2 * (1.5 - 1)
    np.testing.assert_allclose(plan.carry.multipliers, wanted, atol=5e-3)
    np.testing.assert_array_less(plan.carry.violation, 1e-3)


@pytest.mark.parametrize("method", ["standard", "reference"])
def test_half_space_constraint(method):
    """min |a - t|^2 with sum a <= s: the optimum is t - (sum t - s) / 4, the multiplier (sum t - s) / 2."""
    solver = dataclasses.replace(STANDARD, method=method)

    def half_space(actions):
        return jnp.sum(actions, axis=(1, 2))[:, None] + 1

    plan = plan_for(solver, constraint_fn=half_space)
    excess = float(jnp.sum(TARGET) + 1)
    np.testing.assert_allclose(plan.actions, TARGET - excess / 4, atol=2e-3)
    np.testing.assert_allclose(plan.carry.multipliers, excess / 2, rtol=5e-3)


def test_an_inactive_constraint_changes_nothing_in_the_standard_method():
    free = plan_for(STANDARD)
    plan = plan_for(STANDARD, constraint_fn=lambda a: jnp.sum(jnp.square(a), axis=(1, 2))[:, None] - 100)
    np.testing.assert_array_equal(plan.actions, free.actions)
    np.testing.assert_array_equal(plan.carry.multipliers, 0)
    assert free.carry is None


def test_multipliers_carried_over_save_rounds():
    solver = dataclasses.replace(STANDARD, n_outer_steps=1)
    first = plan_for(STANDARD, constraint_fn=inside_the_box)
    cold = plan_for(solver, constraint_fn=inside_the_box, warm_start=first.actions)
    warm = plan_for(solver, constraint_fn=inside_the_box, warm_start=first.actions, carry=first.carry)
    wanted = jnp.clip(TARGET, -1, 1)
    assert jnp.max(jnp.abs(warm.actions - wanted)) < 0.02 < 0.2 < jnp.max(jnp.abs(cold.actions - wanted))


def test_selection_prefers_feasible_sequences():
    """Sequences cannot move, so the choice is between where they start."""
    starts = dataclasses.replace(
        STANDARD, num_samples=20, var_scale=1.5, n_inner_steps=1, n_outer_steps=1, learning_rate=0.0
    )

    def small(actions):
        return jnp.max(jnp.abs(actions), axis=(1, 2))[:, None] - 1

    def smallest(actions):
        return small(actions) + 2

    iterates = starts.init(jax.random.key(0), SPACE, 2).descent.iterates
    costs, values = to_target(iterates), small(iterates)[:, 0]
    by_cost = plan_for(starts, constraint_fn=small)
    np.testing.assert_array_equal(by_cost.actions, iterates[jnp.argmin(costs)])
    np.testing.assert_allclose(by_cost.carry.violation[0], jnp.maximum(values[jnp.argmin(costs)], 0), rtol=1e-6)
    assert by_cost.carry.violation[0] > 0.1
    choosing = dataclasses.replace(starts, selection="feasible")
    feasible = plan_for(choosing, constraint_fn=small)
    np.testing.assert_array_equal(feasible.actions, iterates[jnp.argmin(jnp.where(values <= 1e-3, costs, jnp.inf))])
    np.testing.assert_array_equal(feasible.carry.violation, 0)
    least = plan_for(choosing, constraint_fn=smallest)
    np.testing.assert_array_equal(least.actions, iterates[jnp.argmin(values)])


def test_answers_are_feasible_where_the_cheapest_sequence_is_not():
    """A ring of feasible actions around an infeasible optimum, from many starts."""
    solver = dataclasses.replace(STANDARD, num_samples=8, var_scale=0.3, selection="feasible")

    def ring(actions):
        radius = jnp.sum(jnp.square(actions), axis=2)
        return jnp.concatenate([1 - radius, radius - 2], axis=1)

    plan = plan_for(solver, lambda actions: jnp.sum(jnp.square(actions - 0.1), axis=(1, 2)), constraint_fn=ring)
    assert float(jnp.max(ring(plan.actions[None]))) <= solver.tolerance
    np.testing.assert_allclose(plan.cost, 2 * (1 - 0.1 * np.sqrt(2)) ** 2, rtol=5e-3)


def test_without_constraints_it_is_descent_with_a_fresh_optimiser_every_round():
    solver = LagrangianSolver(n_inner_steps=4, n_outer_steps=2, learning_rate=0.1)
    descent = GradientSolver(n_steps=4, optimizer="adam", learning_rate=0.1)
    assert solver.n_steps == 8
    plan = plan_for(solver)
    halfway = plan_for(descent)
    np.testing.assert_allclose(plan.actions, plan_for(descent, warm_start=halfway.actions).actions, atol=1e-6)
    assert plan.carry is None


def test_line_search_sees_the_augmented_lagrangian():
    solver = LagrangianSolver(n_inner_steps=4, n_outer_steps=8, optimizer=optax.lbfgs(), method="standard")
    plan = plan_for(dataclasses.replace(solver, num_samples=2), constraint_fn=inside_the_box)
    np.testing.assert_allclose(plan.actions, jnp.clip(TARGET, -1, 1), atol=1e-3)


@pytest.mark.parametrize("place", ["cost", "constraint"])
@pytest.mark.parametrize("method", ["standard", "reference"])
def test_sequences_that_are_not_finite_do_not_count(place, method):
    solver = LagrangianSolver(n_inner_steps=3, n_outer_steps=2, num_samples=4, learning_rate=0.1, method=method)
    index = jnp.arange(4) == 1

    def cost_fn(actions):
        return jnp.where(index & (place == "cost"), jnp.nan, to_target(actions))

    def constraint_fn(actions):
        return jnp.where((index & (place == "constraint"))[:, None], jnp.inf, inside_the_box(actions))

    states, plan, records = run(solver, cost_fn, SPACE, 2, None, constraint_fn)
    start = solver.init(jax.random.key(0), SPACE, 2).descent.iterates
    np.testing.assert_array_equal(states.descent.iterates[-1, 1], start[1])
    np.testing.assert_array_equal(jnp.isinf(records.costs), jnp.tile(index, (6, 1)))
    assert plan.status == Status.OK
    assert bool(jnp.all(jnp.isfinite(plan.carry.multipliers)))
    if method == "reference":
        others = inside_the_box(records.candidates[3])[jnp.asarray([0, 2, 3])]
        np.testing.assert_allclose(states.multipliers[3, 0], jnp.maximum(jnp.mean(others, axis=0), 0), rtol=1e-5)


def test_nothing_finite_returns_warm_start_and_multipliers():
    carry = LagrangianCarry(multipliers=jnp.arange(8.0), violation=jnp.zeros(8))
    plan = plan_for(
        LagrangianSolver(n_inner_steps=2, n_outer_steps=2),
        lambda actions: to_target(actions) * jnp.nan,
        constraint_fn=inside_the_box,
        warm_start=jnp.full((1, 2), 0.3),
        carry=carry,
    )
    assert plan.status == Status.NO_FINITE_COST
    np.testing.assert_allclose(plan.actions, [[0.3, 0.3], [0, 0]])
    np.testing.assert_array_equal(plan.carry.multipliers, carry.multipliers)


def test_any_part_of_a_batch_keeps_its_own_multipliers():
    solver = LagrangianSolver(n_inner_steps=5, n_outer_steps=2, learning_rate=0.1, num_samples=2)
    targets = jnp.stack([TARGET, -TARGET, 0.5 * TARGET])
    ids = jnp.asarray([4, 2, 9])

    @jax.jit
    def two_solves(rows):
        solve_rows = functools.partial(
            solve_batch,
            solver,
            quad,
            targets[rows],
            SPACE,
            jax.random.key(1),
            2,
            problem_ids=ids[rows],
            constraint_fn=lambda _, actions: inside_the_box(actions),
        )
        return solve_rows(carry=solve_rows().carry)

    whole, part = two_solves(jnp.arange(3)), two_solves(jnp.asarray([2, 0]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[jnp.asarray([2, 0])], atol=1e-6), part, whole)
    assert whole.carry.multipliers.shape == (3, 8)


def test_bad_input():
    with pytest.raises(ValueError, match="LagrangianSolver.n_inner_steps must be at least 1, got 0"):
        LagrangianSolver(n_inner_steps=0)
    with pytest.raises(ValueError, match="rho_init, rho_max and rho_scale must be above 0"):
        LagrangianSolver(rho_init=0.0)
    carry = LagrangianCarry(multipliers=jnp.zeros(3), violation=jnp.zeros(3))
    with pytest.raises(ValueError, match="carry must have 8 multipliers for 8 constraints, got 3"):
        plan_for(STANDARD, constraint_fn=inside_the_box, carry=carry)
    with pytest.raises(ValueError, match="the constraints have no gradient with respect to the actions"):
        plan_for(STANDARD, constraint_fn=lambda a: jnp.round(a[:, 0]))
    with pytest.raises(ValueError, match="CEMSolver keeps nothing from one solve to the next"):
        plan_for(CEMSolver(), carry=carry)
