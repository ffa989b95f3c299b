"""CEM in the latent space of an imported LeWM, with the noise that the reference drew."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded import replay, run

from swmjax.checkpoints import load_pretrained
from swmjax.planning import CEMSolver, GoalMSE, encode_problems, model_cost, shooting_cost, solve, solve_batch

GOLDEN = Path(__file__).parents[1] / "golden"
SPACE = Box(-1.0, 1.0, (10,), np.float32)
SOLVER = CEMSolver(num_samples=32, n_steps=6, topk=8)


def load(name):
    model = load_pretrained(GOLDEN / name)
    io = {key: jnp.asarray(value) for key, value in np.load(GOLDEN / f"{name}_io.npz").items()}
    return model, io["pixels"][:, -1:], io["goal"]


@pytest.mark.parametrize("name", ["lewm_mini_hf4", "lewm_mini_hf5"])
def test_recorded_noise_reproduces_the_reference(name):
    model, pixels, goal = load(name)
    golden = np.load(GOLDEN / f"cem_{name}.npz")

    @jax.jit
    def plan(model, noise):
        cost = model_cost(model, GoalMSE())

        def one(problem, noise):
            return run(replay(SOLVER, noise), lambda actions: cost(problem, actions), SPACE, 5)

        return jax.vmap(one)(encode_problems(model, pixels, goal, jnp.zeros((2, 0, 10))), noise)

    states, plans, _ = plan(model, jnp.asarray(golden["noise"]))
    np.testing.assert_allclose(plans.actions, golden["actions"], atol=1e-4)
    np.testing.assert_allclose(states.std[:, -1], golden["final_std"], atol=1e-4)
    np.testing.assert_allclose(plans.cost, golden["final_elite_cost"], rtol=1e-4)


def test_batch_and_single_problems_plan_alike():
    model, pixels, goal = load("lewm_mini_hf5")
    solver, key, history = CEMSolver(num_samples=16, n_steps=2, topk=4), jax.random.key(5), jnp.zeros((2, 0, 10))

    @jax.jit
    def batched(model):
        problems = encode_problems(model, pixels, goal, history)
        return solve_batch(solver, model_cost(model, GoalMSE()), problems, SPACE, key, 4)

    @jax.jit
    def single(model, pixels, goal, key):
        cost = shooting_cost(model, GoalMSE(), pixels, goal, history[0])
        return solve(solver, cost, SPACE, key, 4)

    plans = batched(model)
    for index in range(2):
        plan = single(model, pixels[index], goal[index], jax.random.fold_in(key, index))
        np.testing.assert_allclose(plan.actions, plans.actions[index], atol=1e-5)
        np.testing.assert_allclose(plan.cost, plans.cost[index], rtol=1e-5)


def test_goal_mse_reductions():
    latents, goal = jnp.arange(24.0).reshape(2, 3, 4), jnp.ones((1, 4))
    by_hand = np.square(np.asarray(latents)[:, -1] - 1)
    np.testing.assert_allclose(GoalMSE()(latents, goal), by_hand.sum(-1))
    np.testing.assert_allclose(GoalMSE(reduction="mean")(latents, goal), by_hand.mean(-1))
    gradient = jax.grad(lambda goal: jnp.sum(GoalMSE()(latents, goal)))(goal)
    np.testing.assert_array_equal(gradient, 0)
