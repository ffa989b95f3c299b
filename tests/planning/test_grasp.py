"""GRASP against a transcription of its description in PyTorch, and against optima of linear models."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded import run

from swmjax.checkpoints import load_pretrained
from swmjax.planning import GoalMSE, GRASPSolver, LatentProblem, Status, make_solver, model_cost, solve, solve_batch
from swmjax.planning.costs.transitions import function_transitions, model_transitions
from swmjax.planning.metrics import MeanShift
from swmjax.planning.scoring import Scorer

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (2,), np.float32)
START, GOAL = jnp.asarray([1.0, -0.5]), jnp.asarray([-0.4, 0.8])


def linear(states, actions):
    return 0.9 * states + actions @ jnp.asarray([[0.5, 0.1], [-0.2, 0.4]])


TASK = function_transitions(linear, START, GOAL)


def plan_for(solver, task, horizon=3, key=None, cost=None, **options):
    key = jax.random.key(0) if key is None else key
    return solve(solver, cost or task.goal_distance, SPACE, key, horizon, transitions=task, **options)


class Replayed(GRASPSolver):
    """Draws what was recorded; the draws are an attribute, so that the hyperparameters stay as they are."""

    def sample_noise(self, key, step, shape, dtype):
        if len(shape) == 4:
            return self.draws["sync"].reshape(-1, *shape)[step // self.sync_every - 1]
        return self.draws["init"][0] if isinstance(step, jax.core.Tracer) is False else self.draws["state"][step - 1]


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        (
            "paper",
            Replayed(lr_a=0.05, state_noise=0.02, init_noise=0.05, sync_lr=0.02),
        ),
        ("author", Replayed.author(state_noise=0.1, schedule_decay=True)),
        ("cem", Replayed.author(sync_mode="cem", sync_samples=12, sync_topk=4)),
    ],
)
def test_every_iteration_of_the_transcription(name, solver):
    golden = np.load(GOLDEN / f"grasp_{name}.npz")
    solver = dataclasses.replace(solver, n_steps=10, sync_every=4, sync_steps=3, goal_weight=0.5)
    draws = {key[5:]: jnp.asarray(golden[key]) for key in golden if key.startswith("draw_")}
    object.__setattr__(solver, "draws", draws)

    def step(states, actions):
        moved = actions @ jnp.asarray(golden["control"].T) + 0.1 * jnp.sum(jnp.sin(actions), axis=-1, keepdims=True)
        return jnp.tanh(states @ jnp.asarray(golden["matrix"].T)) + moved

    task = function_transitions(step, jnp.asarray(golden["start"]), jnp.asarray(golden["goal"]))
    states, plan, records = run(solver, task.goal_distance, SPACE, 4, transitions=task)
    np.testing.assert_allclose(records.candidates[:, 0], golden["actions"][:-1], atol=1e-5)
    np.testing.assert_allclose(states.actions, golden["actions"][1:], atol=1e-5)
    np.testing.assert_allclose(states.states, golden["states"][1:], atol=1e-5)
    np.testing.assert_allclose(plan.actions, golden["actions"][-1], atol=1e-5)
    np.testing.assert_allclose(plan.cost, task.goal_distance(plan.actions[None])[0], rtol=1e-6)
    np.testing.assert_allclose(records.costs[:, 0], task.goal_distance(records.candidates[:, 0]), rtol=1e-5)


@pytest.mark.parametrize(
    ("solver", "accuracy"),
    [
        (GRASPSolver(n_steps=300, lr_a=0.3, state_noise=0.0, goal_weight=0.0, sync_every=0), 1e-4),
        (GRASPSolver(n_steps=60, lr_a=0.1, sync_every=20, sync_steps=60, sync_lr=0.3), 1e-3),
        (GRASPSolver.author(n_steps=60, sync_every=20, sync_steps=100), 2e-2),
        (GRASPSolver.author(n_steps=60, sync_every=20, sync_mode="cem", sync_steps=15, sync_floor=1e-5), 2e-2),
    ],
    ids=["no synchronisation", "gd", "author gd", "author cem"],
)
@pytest.mark.parametrize("horizon", [1, 5])
def test_linear_model_reaches_its_goal(solver, accuracy, horizon):
    plan = plan_for(solver, TASK, horizon, metrics=(MeanShift(),))
    reached = TASK.rollout(plan.actions[None])[0, -1]
    np.testing.assert_allclose(reached, GOAL, atol=accuracy)
    np.testing.assert_allclose(plan.cost, jnp.sum(jnp.square(reached - GOAL)), atol=1e-6)
    assert plan.trace["mean_shift"].shape == (60 if horizon and solver.sync_every else 300,)
    assert plan.status == Status.OK


def test_first_states_lie_on_the_line_to_the_goal():
    solver = GRASPSolver.author()
    scorer = Scorer(TASK.goal_distance, transitions=TASK)
    state = solver.prepare(solver.init(jax.random.key(0), SPACE, 4), scorer)
    np.testing.assert_allclose(state.states, [START + t / 4 * (GOAL - START) for t in (1, 2, 3)], atol=1e-6)
    noisy = GRASPSolver(init_noise=0.5)
    moved = noisy.prepare(noisy.init(jax.random.key(0), SPACE, 4000), scorer).states
    line = solver.prepare(solver.init(jax.random.key(0), SPACE, 4000), scorer).states
    np.testing.assert_allclose(jnp.std(moved - line), 0.5, rtol=0.03)


def test_no_derivative_by_a_state_is_taken():
    def step(states, actions):
        @jax.custom_jvp
        def mark(states):
            return states

        @mark.defjvp
        def rule(primals, tangents):
            raise AssertionError("differentiated by a state")

        return linear(mark(states), actions)

    task = function_transitions(step, START, GOAL)
    solver = GRASPSolver(n_steps=2, sync_every=0)
    assert plan_for(solver, task).status == Status.OK
    with pytest.raises(AssertionError, match="differentiated by a state"):
        plan_for(dataclasses.replace(solver, sync_every=1), task)


def test_a_batch_of_problems_equals_single_ones():
    problems = {"start": jnp.stack([START, -START, 0.3 * START]), "goal": jnp.stack([GOAL, GOAL, -GOAL])}

    def family(problem):
        return function_transitions(linear, **problem)

    def cost(problem, actions):
        return family(problem).goal_distance(actions)

    solver = GRASPSolver.author(n_steps=12, sync_every=5, sync_mode="cem", sync_samples=8, sync_topk=3)
    batch = jax.jit(lambda: solve_batch(solver, cost, problems, SPACE, jax.random.key(1), 3, transitions=family))()
    one = jax.tree.map(lambda leaf: leaf[2], problems)
    single = plan_for(solver, family(one), key=jax.random.fold_in(jax.random.key(1), 2))
    np.testing.assert_allclose(batch.actions[2], single.actions, atol=1e-5)
    np.testing.assert_allclose(batch.cost[2], single.cost, rtol=1e-4)


def test_rollouts_happen_only_when_the_solver_or_a_metric_needs_them():
    rolled = []

    def rollout(actions):
        jax.debug.callback(lambda: rolled.append(1))
        return TASK.rollout(actions)

    task = dataclasses.replace(TASK, rollout=rollout)
    solver = GRASPSolver(n_steps=10, sync_every=4, sync_steps=2)
    problems = jnp.stack([GOAL, -GOAL])

    def family(goal):
        return dataclasses.replace(task, goal=goal)

    def cost(goal, actions):
        return dataclasses.replace(TASK, goal=goal).goal_distance(actions)

    plan = solve_batch(solver, cost, problems, SPACE, jax.random.key(0), 3, transitions=family, metrics=())
    jax.block_until_ready(plan)
    jax.effects_barrier()
    # Two synchronisations of two steps, each for all problems at once.
    assert len(rolled) == 4


@pytest.mark.parametrize("sync_mode", ["gd", "cem"])
def test_what_is_not_finite_never_enters_the_plan(sync_mode):
    solver = GRASPSolver(n_steps=6, sync_every=3, sync_mode=sync_mode, sync_samples=8, sync_topk=3)
    broken = function_transitions(lambda states, actions: linear(states, actions) * jnp.nan, START, GOAL)
    warm_start = jnp.full((2, 2), 0.3)
    plan = plan_for(solver, broken, warm_start=warm_start)
    assert plan.status == Status.NO_FINITE_COST
    assert plan.cost == jnp.inf
    np.testing.assert_array_equal(plan.actions, np.pad(warm_start, ((0, 1), (0, 0))))
    rolled_to_nothing = dataclasses.replace(TASK, rollout=lambda actions: TASK.rollout(actions) * jnp.nan)
    plan = plan_for(solver, rolled_to_nothing, cost=TASK.goal_distance, warm_start=warm_start)
    assert plan.status == Status.OK
    assert bool(jnp.all(jnp.isfinite(plan.actions)))


def test_candidates_without_a_finite_cost_are_no_elites():
    def cost(actions):
        return jnp.where(jnp.arange(actions.shape[0]) % 3 == 1, -jnp.inf, TASK.goal_distance(actions))

    solver = GRASPSolver.author(
        n_steps=9, sync_every=3, sync_mode="cem", sync_samples=64, sync_steps=15, sync_floor=1e-5
    )
    plan = plan_for(solver, TASK, cost=cost)
    np.testing.assert_allclose(TASK.rollout(plan.actions[None])[0, -1], GOAL, atol=0.05)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
@pytest.mark.parametrize("sync_mode", ["gd", "cem"])
def test_dtypes_stay(dtype, sync_mode):
    with jax.enable_x64(dtype == jnp.float64):
        task = function_transitions(
            lambda states, actions: 0.9 * states + actions, START.astype(dtype), GOAL.astype(dtype)
        )
        solver = GRASPSolver(n_steps=4, sync_every=2, sync_mode=sync_mode, sync_samples=8, sync_topk=1)
        plan = plan_for(solver, task, warm_start=jnp.zeros((1, 2), dtype))
        assert plan.actions.dtype == dtype
        assert plan.cost.dtype == jnp.promote_types(dtype, jnp.float32)
        assert bool(jnp.all(jnp.isfinite(plan.actions)))


def test_world_model():
    model = load_pretrained(GOLDEN / "lewm_mini_hf5")
    generator = np.random.default_rng(0)
    size, latent = model.config.action_encoder.input_dim, model.config.predictor.input_dim
    latents, goal, past, actions = (
        jnp.asarray(generator.normal(size=shape), jnp.float32)
        for shape in ((2, 2, latent), (2, 1, latent), (2, 1, size), (4, 2, size))
    )
    problems = LatentProblem(latents=latents, action_history=past, goal=goal)
    family = model_transitions(model)
    space = Box(-1.0, 1.0, (size,), np.float32)
    solver = GRASPSolver.author(n_steps=8, sync_every=4, sync_steps=4)

    @jax.jit
    def everything():
        problem = jax.tree.map(lambda leaf: leaf[1], problems)
        task = family(problem)
        starts = jnp.broadcast_to(latents[0, 0][None], (4, latent))
        alone = model.rollout(latents[:1, :1], past[:1, :0], actions[None, :, :1])[0, :, 1]
        costs = model_cost(model)(problem, actions), model_cost(model, GoalMSE())(problem, actions)
        plan = solve_batch(solver, model_cost(model), problems, space, jax.random.key(0), 2, transitions=family)
        return costs, task.rollout(actions)[:, -1], task.predict(starts, actions[:, 0]), alone, plan

    costs, last, predicted, alone, plan = everything()
    np.testing.assert_array_equal(*costs)
    np.testing.assert_allclose(costs[0], jnp.sum(jnp.square(last - goal[1]), axis=-1), rtol=1e-5)
    np.testing.assert_allclose(predicted, alone, rtol=1e-4, atol=1e-5)
    assert plan.actions.shape == (2, 2, size)
    assert bool(jnp.all(plan.cost < plan.trace["best_cost"][:, 0]))


def test_presets_and_overrides():
    overrides = {"optimizer": "adam", "reduction": "mean", "init_noise": "0", "sync_lr": "0.05", "sync_mode": "cem"}
    assert make_solver("grasp", overrides) == GRASPSolver.author(sync_mode="cem")
    assert hash(GRASPSolver()) != hash(GRASPSolver.author())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "GRASPSolver.n_steps must be at least 1, got 0"),
        ({"sync_topk": 65}, r"GRASPSolver.sync_topk must be at most sync_samples \(64\), got 65"),
        ({"lr_s": -1.0}, "GRASPSolver.lr_s must be a finite number of at least 0, got -1.0"),
        ({"sync_floor": float("inf")}, "GRASPSolver.sync_floor must be a finite number"),
        ({"optimizer": "adamm"}, "GRASPSolver.optimizer must be one of 'sgd', 'adam', .*got 'adamm'"),
    ],
)
def test_hyperparameters_are_validated(options, message):
    with pytest.raises(ValueError, match=message):
        GRASPSolver(**options)


def test_other_cost_functions_are_refused():
    with pytest.raises(ValueError, match="GRASPSolver plans in states as well .*give transitions"):
        solve(GRASPSolver(), TASK.goal_distance, SPACE, jax.random.key(0), 3)
    flat = dataclasses.replace(TASK, predict=lambda states, actions: linear(states, jnp.round(actions)))
    with pytest.raises(ValueError, match="the predicted states have no gradient with respect to the actions"):
        plan_for(GRASPSolver(), flat)
