"""Gradient descent against recorded runs of the reference, and its rules one by one."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium.spaces import Box
from planning.recorded import replay, run
from planning.recorded_costs import quad, wavy
from planning.recorded_descent import descent_noise

from swmjax.planning import BestCost, GradientSolver, Status, make_solver, solve
from swmjax.planning.metrics import ActionNorm, GradNorm
from swmjax.planning.optimizers import checked_options

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (4,), np.float32)
TARGET = jnp.linspace(-0.8, 0.8, 12).reshape(3, 4)


def to_target(actions):
    return quad(TARGET, actions)


def plan_for(solver, cost_fn=to_target, **kwargs):
    return solve(solver, cost_fn, SPACE, jax.random.key(0), TARGET.shape[0], **kwargs)


@pytest.mark.parametrize(
    ("name", "cost", "options"),
    [
        ("gd_adam", wavy, {"optimizer": "adam"}),
        ("gd_sgd_noise", quad, {"action_noise": 0.05}),
    ],
)
def test_recorded_noise_reproduces_the_reference(name, cost, options):
    golden = np.load(GOLDEN / f"solver_{name}.npz")
    solver = GradientSolver(n_steps=7, num_samples=3, var_scale=0.5, learning_rate=0.1, **options)
    noise = descent_noise(*(golden[f"draw{i}"] for i in range(sum(key.startswith("draw") for key in golden))))
    warm_start = jnp.asarray(golden["in_init_action"]) if "in_init_action" in golden else jnp.zeros((3, 6, 4))

    @jax.jit
    @jax.vmap
    def recorded(noise, target, warm_start):
        return run(replay(solver, noise), lambda actions: cost(target, actions), SPACE, 6, warm_start)

    _, plan, _ = recorded(noise, jnp.asarray(golden["in_target"]), warm_start)
    np.testing.assert_allclose(plan.actions, golden["out_actions"], atol=1e-5)
    np.testing.assert_allclose(plan.cost, golden["out_costs"], rtol=1e-5)


def test_every_iteration_of_adamw_with_clipping_and_noise():
    golden = np.load(GOLDEN / "gradient_adamw_clip.npz")
    solver = GradientSolver(
        n_steps=6, num_samples=3, var_scale=0.5, action_noise=0.02, grad_clip=2.0, optimizer="adamw", learning_rate=0.1
    )
    later = [np.concatenate([golden[f"draw{1 + i}"], golden[f"draw{7 + i}"]]) for i in range(6)]
    noise = descent_noise(golden["draw0"], *later)

    @jax.jit
    @jax.vmap
    def recorded(noise, target, warm_start):
        return run(replay(solver, noise), lambda actions: wavy(target, actions), SPACE, 4, warm_start)

    arguments = noise, jnp.asarray(golden["in_target"]), jnp.asarray(golden["in_init_action"])
    states, plan, records = recorded(*arguments)
    for found, name in ((records.candidates, "params"), (records.costs, "costs"), (records.gradient, "grads")):
        wanted = golden[name].reshape(2, 6, *golden[name].shape[2:])
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert np.linalg.norm(golden["grads"][0]) > 2 * solver.grad_clip
    np.testing.assert_allclose(states.iterates[:, -1], golden["final0"], atol=1e-5)
    finals = np.stack([wavy(t, f) for t, f in zip(golden["in_target"], golden["final0"], strict=True)])
    np.testing.assert_allclose(plan.cost, finals.min(axis=1), rtol=1e-5)
    np.testing.assert_allclose(plan.actions, golden["final0"][range(2), finals.argmin(axis=1)], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("momentum", {"optimizer": "sgd", "learning_rate": 0.05, "optimizer_kwargs": {"momentum": 0.9}}),
        (
            "nesterov",
            {"optimizer": "sgd", "learning_rate": 0.05, "optimizer_kwargs": {"momentum": 0.9, "nesterov": True}},
        ),
        ("adam", {"optimizer": optax.adam(0.1, b1=0.5, b2=0.9)}),
        ("adamax", {"optimizer": "adamax", "learning_rate": 0.1}),
        ("rmsprop", {"optimizer": "rmsprop", "learning_rate": 0.05}),
    ],
)
def test_optimisers_step_like_those_of_torch(name, options):
    golden = np.load(GOLDEN / "gradient_optimizers.npz")
    solver = GradientSolver(n_steps=8, **options)

    @jax.jit
    @jax.vmap
    def iterates(target):
        return run(solver, functools.partial(wavy, target), SPACE, 4)[0].iterates

    found = jnp.moveaxis(iterates(jnp.asarray(golden["in_target"])), 0, 1)
    np.testing.assert_allclose(found, golden[name][1:], atol=1e-5)


def test_quadratic_optimum_in_one_step_of_newton_length():
    plan = plan_for(GradientSolver(n_steps=1, learning_rate=0.5), metrics=(GradNorm(), ActionNorm(), BestCost()))
    np.testing.assert_allclose(plan.actions, TARGET, atol=1e-6)
    np.testing.assert_allclose(plan.trace["grad_norm"][0], 2 * jnp.linalg.norm(TARGET), rtol=1e-6)
    np.testing.assert_array_equal(plan.trace["action_norm"], 0)


def rosenbrock(actions):
    x, y = actions[..., 0], actions[..., 1]
    return jnp.sum(jnp.square(1 - x) + 100 * jnp.square(y - jnp.square(x)), axis=1)


@pytest.mark.parametrize(
    ("options", "accuracy"),
    [
        ({"n_steps": 4000, "optimizer": "adam", "learning_rate": 0.02}, 1e-3),
        ({"n_steps": 60, "optimizer": optax.lbfgs()}, 1e-4),
    ],
)
def test_rosenbrock_optimum(options, accuracy):
    space = Box(-2.0, 2.0, (2,), np.float32)
    plan = jax.jit(
        lambda key: solve(GradientSolver(**options), rosenbrock, space, key, 2, jnp.asarray([[-1.2, 1.0]]), metrics=())
    )(jax.random.key(0))
    np.testing.assert_allclose(plan.actions, 1, atol=accuracy)


def test_clip_to_bounds_finds_the_optimum_in_the_box():
    target = 2 * TARGET
    solver = GradientSolver(n_steps=40, learning_rate=0.2, clip="bounds", num_samples=4, var_scale=3.0)
    states, plan, records = run(solver, functools.partial(quad, target), SPACE, 3)
    np.testing.assert_allclose(plan.actions, jnp.clip(target, -1, 1), atol=1e-5)
    assert jnp.max(jnp.abs(records.candidates)) == 1
    assert jnp.max(jnp.abs(states.iterates)) == 1


def test_first_sequence_starts_at_the_warm_start_and_the_others_around_it():
    warm_start = jnp.full((2, 4), 3.0)
    solver = GradientSolver(n_steps=1, num_samples=1000, var_scale=0.5)
    state = solver.init(jax.random.key(0), SPACE, 3, warm_start)
    np.testing.assert_array_equal(state.iterates[0], np.pad(warm_start, ((0, 1), (0, 0))))
    np.testing.assert_allclose(jnp.std(state.iterates[1:] - state.iterates[:1]), 0.5, rtol=0.02)


def test_noise_is_added_after_every_step():
    still = run(GradientSolver(n_steps=3, learning_rate=0.0), to_target, SPACE, 3)[0]
    moving = run(
        GradientSolver(n_steps=3, learning_rate=0.0, num_samples=500, var_scale=0.0, action_noise=0.1),
        to_target,
        SPACE,
        3,
    )[0]
    np.testing.assert_array_equal(still.iterates, 0)
    np.testing.assert_allclose(jnp.std(moving.iterates, axis=(1, 2, 3)), 0.1 * np.sqrt([1, 2, 3]), rtol=0.03)


def test_sequences_do_not_poison_each_other():
    """A cost or a gradient that is not finite freezes its own sequence only, even through the norm of `grad_clip`."""

    def spoiled(actions):
        number = jnp.arange(5)
        costs = jnp.where(number == 1, jnp.nan, quad(TARGET, actions))
        # The root of 0 is finite, its derivative is not.
        return costs + jnp.sqrt(jnp.where(number == 2, 0.0, 1.0) * jnp.abs(actions[:, 0, 0]) + (number != 2))

    options = {"n_steps": 4, "optimizer": "adamw", "learning_rate": 0.1, "grad_clip": 0.5, "num_samples": 5}
    solver = GradientSolver(**options)
    states, plan, records = run(solver, spoiled, SPACE, 3)
    start = solver.init(jax.random.key(0), SPACE, 3).iterates
    np.testing.assert_array_equal(states.iterates[-1, 1:3], start[1:3])
    np.testing.assert_array_equal(jnp.isinf(records.costs), jnp.tile(jnp.arange(5) == 1, (4, 1)))
    np.testing.assert_array_equal(records.gradient[:, 1:3], 0)
    assert bool(jnp.all(jnp.any(states.iterates[-1] != start, axis=(1, 2))[jnp.asarray([0, 3, 4])]))
    assert bool(jnp.all(jnp.isfinite(states.iterates)))
    assert plan.status == Status.OK


def test_a_sequence_that_loses_its_cost_falls_back_to_its_last_finite_value():
    def cliff(actions):
        return jnp.where(actions[:, 0, 0] > 0.35, jnp.nan, -jnp.sum(actions, axis=(1, 2)))

    plan = plan_for(GradientSolver(n_steps=8, learning_rate=0.1), cliff)
    np.testing.assert_allclose(plan.actions, 0.3, atol=1e-6)
    np.testing.assert_allclose(plan.cost, -3.6, rtol=1e-6)
    assert plan.status == Status.OK


@pytest.mark.parametrize(
    "cost_fn",
    [
        lambda actions: jnp.argmax(actions[:, 0], axis=-1).astype(actions.dtype),
        lambda actions: jnp.sum(jnp.round(actions), axis=(1, 2)),
        lambda actions: jax.lax.stop_gradient(quad(TARGET, actions)),
        jax.jit(lambda actions: jnp.zeros(actions.shape[0])),
    ],
    ids=["argmax", "round", "stop_gradient", "constant"],
)
@pytest.mark.parametrize("chunk", [None, 2])
def test_costs_without_a_gradient_are_found_before_any_compute(cost_fn, chunk):
    ran = []

    def watched(actions):
        jax.debug.callback(lambda: ran.append(1))
        return cost_fn(actions)

    with pytest.raises(ValueError, match="the costs have no gradient with respect to the actions"):
        plan_for(GradientSolver(num_samples=3), watched, candidate_chunk=chunk)
    jax.effects_barrier()
    assert ran == []


def test_bfloat16_keeps_small_updates():
    """0.003 is below the spacing of bfloat16 at 1, so only iterates of higher precision ever move."""
    warm_start = jnp.ones((3, 4), jnp.bfloat16)
    plan = plan_for(
        GradientSolver(n_steps=100, learning_rate=0.0015),
        lambda actions: jnp.sum(actions.astype(jnp.float32), axis=(1, 2)),
        warm_start=warm_start,
    )
    assert plan.actions.dtype == jnp.bfloat16
    np.testing.assert_allclose(plan.actions.astype(jnp.float32), 0.85, atol=0.003)


def test_overrides_as_text():
    overrides = {"n_steps": "5", "optimizer": "adamw", "learning_rate": "0.1", "optimizer_kwargs": {"b1": 0.5}}
    solver = make_solver("gradient", overrides)
    assert solver == GradientSolver(
        n_steps=5, optimizer="adamw", learning_rate=0.1, optimizer_kwargs={"b1": 0.5}, action_noise=0.0
    )
    assert hash(solver) != hash(make_solver("gradient"))
    transformation = optax.adam(0.1)
    assert hash(GradientSolver(optimizer=transformation)) == hash(GradientSolver(optimizer=transformation))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "GradientSolver.n_steps must be at least 1, got 0"),
        ({"num_samples": 0}, "GradientSolver.num_samples must be at least 1"),
        ({"var_scale": -1.0}, "GradientSolver.var_scale must be a finite number"),
        ({"action_noise": float("nan")}, "GradientSolver.action_noise must be a finite number"),
        ({"grad_clip": -1.0}, "GradientSolver.grad_clip must be a finite number"),
        ({"learning_rate": -1.0}, "GradientSolver.learning_rate must be a finite number"),
        ({"optimizer": "adamm"}, "GradientSolver.optimizer must be one of sgd, adam, .*got 'adamm'"),
        ({"optimizer_kwargs": {"betas": 0.5}}, "sgd has no option 'betas'; known: .*'momentum'"),
        ({"optimizer_kwargs": {"momentum": float("inf")}}, "momentum must be a finite number, got inf"),
        ({"optimizer": optax.sgd(1.0), "learning_rate": 0.1}, "belong to an optimizer given by name"),
    ],
)
def test_hyperparameters_are_validated(options, message):
    with pytest.raises(ValueError, match=message):
        GradientSolver(**options)


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (3, {}, "or an optax.GradientTransformation, got 3"),
        ("sgd", "momentum=0.9", "optimizer_kwargs must be a mapping of names to numbers, got 'momentum=0.9'"),
        ("sgd", {"momentum": "much"}, "momentum must be a finite number, got 'much'"),
    ],
)
def test_wrong_types_of_options_are_named(optimizer, options, message):
    with pytest.raises(ValueError, match=message):
        checked_options("GradientSolver", optimizer, 1.0, options)
