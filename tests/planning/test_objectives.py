"""Objectives and constraints by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swmjax.planning import ActionPenalty, AtMost, GoalMSE, LatentProblem, WeightedSum, model_cost
from swmjax.planning.costs.latent import latent_constraints
from swmjax.planning.costs.objectives import GoalCosine, GoalL1

RANDOM = np.random.default_rng(0)
LATENTS = RANDOM.normal(size=(2, 4, 3, 5)).astype(np.float32)
GOAL = RANDOM.normal(size=(2, 3, 5)).astype(np.float32)
ACTIONS = RANDOM.normal(size=(2, 3, 2)).astype(np.float32)
"""Two candidates of three steps after one context frame; latents of 3 tokens x 5."""


def call(objective, latents=LATENTS, goal=GOAL, actions=ACTIONS):
    return objective(*jax.tree.map(jnp.asarray, (latents, goal, actions)))


def cosine(a, b):
    return 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


MEASURES = {
    GoalMSE: lambda a, b: np.square(a - b).reshape(*a.shape[:2], -1),
    GoalL1: lambda a, b: np.abs(a - b).reshape(*a.shape[:2], -1),
    GoalCosine: cosine,
}


@pytest.mark.parametrize("kind", MEASURES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("steps", ["last", "all"])
def test_distances_by_hand(kind, reduction, steps):
    predicted = LATENTS[:, -1:] if steps == "last" else LATENTS[:, 1:]
    entries = MEASURES[kind](predicted, np.broadcast_to(GOAL[-1], predicted.shape))
    expected = getattr(entries, reduction)(-1).mean(1)
    np.testing.assert_allclose(call(kind(reduction=reduction, steps=steps)), expected, rtol=1e-5)


def test_sources_of_a_split_latent():
    latents, goal = {"pixels": LATENTS, "proprio": LATENTS[:, :, 0]}, {"pixels": GOAL, "proprio": GOAL[:, 0]}
    pixels = call(GoalMSE(source="pixels"), latents, goal)
    proprio = call(GoalMSE(source="proprio"), latents, goal)
    np.testing.assert_allclose(pixels, call(GoalMSE()))
    np.testing.assert_allclose(call(GoalMSE(), latents, goal), pixels + proprio, rtol=1e-6)
    weighted = WeightedSum(((1.0, GoalMSE(source="pixels")), (0.5, GoalMSE(source="proprio"))))
    np.testing.assert_allclose(call(weighted, latents, goal), pixels + 0.5 * proprio, rtol=1e-6)
    with pytest.raises(ValueError, match="GoalMSE.source is 'depth'; the latents have: pixels, proprio"):
        call(GoalMSE(source="depth"), latents, goal)
    with pytest.raises(ValueError, match="none, since they are one array"):
        call(GoalMSE(source="pixels"))


def test_no_gradient_reaches_the_goal():
    for kind in MEASURES:
        gradient = jax.grad(lambda goal, kind=kind: call(kind(), goal=goal).sum())(jnp.asarray(GOAL))
        np.testing.assert_array_equal(gradient, 0)


def test_gradients_at_the_goal_are_finite():
    latents = np.broadcast_to(GOAL[-1], (2, 4, 3, 5))
    for kind, at in ((GoalMSE, latents), (GoalL1, latents), (GoalCosine, latents), (GoalCosine, 0 * latents)):
        gradient = jax.grad(lambda latents, kind=kind: call(kind(), latents).sum())(jnp.asarray(at))
        assert np.isfinite(gradient).all()


def test_penalties_and_constraints():
    squares = np.square(ACTIONS).sum((1, 2))
    np.testing.assert_allclose(call(ActionPenalty()), squares, rtol=1e-6)
    np.testing.assert_allclose(call(AtMost(ActionPenalty(), 2.0)), squares - 2.0, rtol=1e-6)
    with pytest.raises(ValueError, match="at least one"):
        WeightedSum(())
    with pytest.raises(ValueError, match="needs the candidates"):
        GoalMSE(steps="all")(jnp.asarray(LATENTS), jnp.asarray(GOAL))


class Sum:
    """Latents are running sums of the actions' entries."""

    def encode(self, pixels):
        return pixels

    def rollout(self, latents, action_history, actions):
        moved = latents[:, None, -1:] + jnp.cumsum(actions.sum(-1, keepdims=True), axis=2)
        context = jnp.broadcast_to(latents[:, None], (1, actions.shape[1], *latents.shape[1:]))
        return jnp.concatenate([context, moved], axis=2)


def test_costs_and_constraints_of_a_model():
    problem = LatentProblem(latents=jnp.ones((1, 1)), action_history=jnp.zeros((0, 2)), goal=jnp.full((1, 1), 3.0))
    actions = jnp.asarray(ACTIONS)
    reached = 1 + ACTIONS.sum((1, 2))
    np.testing.assert_allclose(model_cost(Sum(), GoalMSE())(problem, actions), (reached - 3) ** 2, rtol=1e-5)
    constraints = latent_constraints(Sum(), (AtMost(GoalL1(), 0.5), AtMost(ActionPenalty(), 1.0)))(problem, actions)
    expected = np.stack([np.abs(reached - 3) - 0.5, np.square(ACTIONS).sum((1, 2)) - 1.0], axis=-1)
    np.testing.assert_allclose(constraints, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="at least one term"):
        latent_constraints(Sum(), ())


class Judged(Sum):
    """A model that says what plans are judged by."""

    objective = GoalL1(reduction="mean")


class Paid:
    """A model that expects rewards, and so has no goal."""

    def encode(self, obs):
        return obs

    def plan_cost(self, latents, actions):
        return latents[:, None, 0] - actions.sum((2, 3))


def test_models_say_what_plans_are_judged_by():
    problem = LatentProblem(latents=jnp.ones((1, 1)), action_history=jnp.zeros((0, 2)), goal=jnp.full((1, 1), 3.0))
    actions = jnp.asarray(ACTIONS)
    reached = 1 + ACTIONS.sum((1, 2))
    np.testing.assert_allclose(model_cost(Judged())(problem, actions), np.abs(reached - 3), rtol=1e-5)
    np.testing.assert_allclose(model_cost(Judged(), GoalMSE())(problem, actions), (reached - 3) ** 2, rtol=1e-5)
    np.testing.assert_allclose(model_cost(Paid())(problem, actions), 2 - reached, rtol=1e-5)
    with pytest.raises(ValueError, match="a Sum does not say what plans are judged by; give an objective"):
        model_cost(Sum())
