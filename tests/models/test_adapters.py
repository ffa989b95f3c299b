"""Models of one's own: the same linear dynamics as functions, as an Equinox and as a Linen module, planned with."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from gymnasium.spaces import Box
from quick import quick_jit

from swmjax.models import FunctionModel, WorldModel, from_equinox, from_function, from_linen
from swmjax.planning import CEMSolver, GoalMSE, encode_problems, model_cost, shooting_cost, solve, solve_batch

RNG = np.random.default_rng(0)
LOOK, MOVE, PUSH = (RNG.normal(size=shape).astype(np.float32) for shape in ((3, 4), (3, 3), (2, 3)))
SPACE = Box(-1.0, 1.0, (2,))


def step(latent: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.tanh(latent @ MOVE + action @ PUSH)


def encode(obs: jax.Array) -> jax.Array:
    return LOOK @ obs


class Linear(linen.Module):
    def setup(self) -> None:
        self.look = linen.Dense(3, use_bias=False)
        self.move = linen.Dense(3, use_bias=False)
        self.push = linen.Dense(3, use_bias=False)

    def encode(self, obs: jax.Array) -> jax.Array:
        return self.look(obs)

    def step(self, latent: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.tanh(self.move(latent) + self.push(action))

    def __call__(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        return self.step(self.encode(obs), action)


def functions() -> FunctionModel:
    return from_function(step, encode)


def linen_module() -> FunctionModel:
    kernels = {"look": LOOK.T, "move": MOVE, "push": PUSH}
    return from_linen(Linear(), {"params": {name: {"kernel": jnp.asarray(value)} for name, value in kernels.items()}})


def equinox_module() -> FunctionModel:
    eqx = pytest.importorskip("equinox")

    class Model(eqx.Module):
        look: Any
        move: jax.Array
        push: jax.Array
        activation: Any

        def encode(self, obs: jax.Array) -> jax.Array:
            return self.look(obs)

        def step(self, latent: jax.Array, action: jax.Array) -> jax.Array:
            return self.activation(latent @ self.move + action @ self.push)

    look = eqx.nn.Linear(4, 3, use_bias=False, key=jax.random.key(0))
    look = eqx.tree_at(lambda layer: layer.weight, look, jnp.asarray(LOOK))
    return from_equinox(Model(look, jnp.asarray(MOVE), jnp.asarray(PUSH), jnp.tanh))


MODELS = pytest.mark.parametrize("make", [functions, equinox_module, linen_module])
OBS = jnp.asarray(RNG.normal(size=(2, 2, 4)), jnp.float32)
HISTORY, CANDIDATES = (jnp.asarray(RNG.uniform(-1, 1, (2, *shape, 2)), jnp.float32) for shape in ((1,), (5, 3)))


@MODELS
def test_functions_of_single_latents_become_a_world_model(make: Any) -> None:
    model = make()
    assert isinstance(model, WorldModel)

    @quick_jit
    def run(model: FunctionModel, obs: jax.Array, candidates: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        latents = model.encode(obs)
        return latents, model.predict(latents, candidates[:, 0, :2]), model.rollout(latents, HISTORY, candidates)

    latents, predicted, rolled = run(model, OBS, CANDIDATES)
    np.testing.assert_allclose(latents, np.asarray(OBS) @ LOOK.T, rtol=1e-4, atol=1e-5)
    assert rolled.shape == (2, 5, 5, 3)
    state, candidates = np.broadcast_to((np.asarray(OBS) @ LOOK.T)[:, None, -1], (2, 5, 3)), np.asarray(CANDIDATES)
    for t in range(3):
        state = np.tanh(state @ MOVE + candidates[:, :, t] @ PUSH)
        np.testing.assert_allclose(rolled[:, :, 2 + t], state, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rolled[:, :, :2], np.broadcast_to(np.asarray(latents)[:, None], (2, 5, 2, 3)))
    expected = np.tanh(np.asarray(latents) @ MOVE + candidates[:, 0, :2] @ PUSH)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)


@MODELS
def test_they_are_planned_with(make: Any) -> None:
    model, solver = make(), CEMSolver(num_samples=64, n_steps=6, topk=8)
    target = np.array([[0.6, -0.4], [-0.3, 0.8]], np.float32)
    start = jnp.asarray(OBS[0, -1])
    latent = encode(start)
    for action in target:
        latent = step(latent, action)
    goal = jnp.linalg.lstsq(jnp.asarray(LOOK), latent)[0]

    @quick_jit
    def plan(model: FunctionModel, obs: jax.Array, goal: jax.Array) -> Any:
        cost = shooting_cost(model, GoalMSE(), obs[None], goal[None], jnp.zeros((0, 2)))
        return solve(solver, cost, SPACE, jax.random.key(0), 2), cost(jnp.zeros((1, 2, 2)))[0]

    found, resting = plan(model, start, goal)
    assert found.cost < 0.01 * resting


def test_the_parameters_are_arguments() -> None:
    model = linen_module()
    traced = []

    @jax.jit
    def roll(model: FunctionModel, actions: jax.Array) -> jax.Array:
        traced.append(1)
        return model.rollout(model.encode(OBS), HISTORY, actions)

    first = roll(model, CANDIDATES)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, model)
    assert not np.allclose(first, roll(doubled, CANDIDATES))
    assert len(traced) == 1
    slopes = jax.grad(lambda model: roll(model, CANDIDATES).sum())(model)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(slopes))


def test_latents_and_observations_may_be_trees() -> None:
    def drift(latent: dict[str, jax.Array], action: jax.Array) -> dict[str, jax.Array]:
        return {"place": latent["place"] + 0.1 * latent["speed"], "speed": latent["speed"] + action}

    model = from_function(drift)
    obs = {"place": jnp.zeros((2, 1, 2)), "speed": jnp.ones((2, 1, 2))}
    problems = encode_problems(model, obs, obs, jnp.zeros((2, 0, 2)))
    keys = jax.random.split(jax.random.key(0), 2)
    cost = model_cost(model, GoalMSE(source="place"))
    solver = CEMSolver(num_samples=32, n_steps=3, topk=4)
    plan = quick_jit(lambda problems: solve_batch(solver, cost, problems, SPACE, keys, 3).actions)
    assert plan(problems).shape == (2, 3, 2)
    rolled = jax.eval_shape(model.rollout, obs, jnp.zeros((2, 0, 2)), jnp.zeros((2, 4, 3, 2)))
    assert rolled["place"].shape == (2, 4, 4, 2)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="step: Linear has no method 'advance'; name the one to call"):
        from_linen(Linear(), {}, step="advance")
    with pytest.raises(ValueError, match="encode: Linear has no method 'see'"):
        from_equinox(Linear(), encode="see")
    shrinking = from_function(lambda latent, action: latent[:2])
    with pytest.raises(
        ValueError, match=r"keep the shape and dtype of a latent, float32\[3\], but it gives float32\[2\]"
    ):
        shrinking.rollout(jnp.zeros((1, 1, 3)), jnp.zeros((1, 0, 2)), jnp.zeros((1, 2, 2, 2)))
