"""Policies that plan with a model or the physics: units of actions, frames as the model takes them, costs."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_env import PointEnv

from swmjax.models import OracleModel
from swmjax.planning import CEMSolver, GoalMSE
from swmjax.policies import ActionBox, PhysicsPolicy, PlanConfig, Scaler, WorldModelPolicy
from swmjax.policies.images import normalised

BOX = gymnasium.spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))
SCALER = Scaler(mean=(0.5, -1.0), std=(0.25, 2.0))


def test_scaling_by_hand():
    actions = jnp.asarray([[[0.0, 0.0], [2.0, -1.0]], [[-2.0, 0.5], [1.0, 1.0]]])
    expected = [[[0.5, -1.0], [1.0, -3.0]], [[0.0, 0.0], [0.75, 1.0]]]
    np.testing.assert_allclose(SCALER.to_env(actions), expected)
    np.testing.assert_allclose(SCALER.to_env(actions[0, 0]), expected[0][0])
    space = SCALER.space(BOX)
    np.testing.assert_allclose(space.low, [-6.0, 0.5])
    np.testing.assert_allclose(space.high, [2.0, 2.5])
    assert space.dtype == np.float32


@given(mean=st.tuples(*[st.floats(-10.0, 10.0, width=32)] * 2), std=st.tuples(*[st.floats(0.125, 8.0, width=32)] * 2))
def test_bounds_come_back_as_they_were(mean, std):
    scaler = Scaler(mean, std)
    space = scaler.space(BOX)
    for bound, original in ((space.low, BOX.low), (space.high, BOX.high)):
        np.testing.assert_allclose(scaler.to_env(jnp.asarray(bound)), original, atol=1e-5)


def test_scaling_keeps_the_dtype():
    assert SCALER.to_env(jnp.zeros((1, 2), jnp.bfloat16)).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert SCALER.to_env(jnp.zeros((1, 2))).dtype == jnp.float64


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.0,), (1.0, 1.0), "must have the same length, got 1 and 2"),
        ((0.0,), (0.0,), r"std finite and above 0, got \[0.0\] and \[0.0\]"),
        ((0.0,), (-1.0,), "above 0"),
        ((float("nan"),), (1.0,), "mean must be finite"),
        ((0.0,), (float("inf"),), "std finite"),
        ((0.0,), (float("nan"),), "std finite"),
    ],
)
def test_bad_statistics(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Scaler(mean, std)


def test_statistics_of_another_action_space():
    with pytest.raises(ValueError, match=r"action statistics have 3 entries, the environment's actions \(2,\)"):
        Scaler((0.0,) * 3, (1.0,) * 3).space(BOX)


def test_normalised_frames_by_hand():
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3), np.uint8)
    found = normalised(jnp.asarray(frames)[:, None])
    assert (found.shape, found.dtype) == ((2, 1, 3, 3, 5), jnp.float32)
    for channel, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        expected = (frames[..., channel] / 255.0 - mean) / std
        np.testing.assert_allclose(found[:, 0, channel], expected, rtol=1e-6, atol=1e-6)


@dataclass(frozen=True, eq=False)
class MeanModel:
    """Latents are mean colours; an action moves all of them by its first entry."""

    encoded: list = field(default_factory=list)

    def encode(self, pixels):
        self.encoded.append(pixels.shape)
        return pixels.mean(axis=(3, 4))

    def rollout(self, latents, action_history, actions):
        assert action_history.shape == (1, 0, actions.shape[-1])
        moved = latents[:, None, -1:] + jnp.cumsum(actions[..., :1], axis=2)
        context = jnp.broadcast_to(latents[:, None], (1, actions.shape[1], *latents.shape[1:]))
        return jnp.concatenate([context, moved], axis=2)


def frames(levels: Any) -> jax.Array:
    return jnp.broadcast_to(levels[:, None, None, None], (levels.shape[0], 2, 4, 3)).astype(jnp.uint8)


@pytest.mark.parametrize(("at_once", "encoded"), [(1, 1), (None, 2)])
def test_a_world_model_encodes_and_scores(at_once, encoded):
    model = MeanModel()
    policy = WorldModelPolicy(
        model,
        CEMSolver(),
        PlanConfig(2, 1, 2),
        ActionBox.of(BOX),
        SCALER,
        GoalMSE(),
        image_size=4,
        plan_batch_size=at_once,
    )
    assert policy.inputs == ("pixels", "goal")
    np.testing.assert_allclose(policy.space.low, SCALER.space(BOX).low)
    obs = {"pixels": frames(jnp.asarray([10.0, 20.0])), "goal": frames(jnp.asarray([30.0, 40.0]))}
    goals = policy.goals(obs)
    assert set(model.encoded) == {(encoded, 1, 3, 2, 4)}
    np.testing.assert_allclose(goals, normalised(obs["goal"][:, None]).mean(axis=(3, 4)), rtol=1e-6)
    problems = policy.problems(policy.seen(obs)[:, None], jnp.zeros((2, 0, 4)), goals)
    assert problems.action_history.shape == (2, 0, 4)
    np.testing.assert_array_equal(problems.goal, goals)
    np.testing.assert_allclose(problems.latents, normalised(obs["pixels"][:, None]).mean(axis=(3, 4)), rtol=1e-6)

    one = jax.tree.map(lambda leaf: leaf[1], problems)
    actions = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3, 4)), jnp.float32)
    last = one.latents[-1:] + actions[:, :, 0].sum(axis=1)[:, None]
    np.testing.assert_allclose(policy.cost(one, actions), jnp.square(last - one.goal[-1:]).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(policy.to_env(jnp.ones((1, 2))), [[0.75, 1.0]])


def test_physics_steps_the_environment():
    env = PointEnv(gain=0.5)
    policy = PhysicsPolicy(OracleModel(env), CEMSolver(), PlanConfig(2, 1, 2), env.planning_cost)
    assert policy.inputs == ("env_state",)
    state = env.set_goal(env.reset(jax.random.key(0)), jnp.asarray([2.0]))
    states = jax.tree.map(lambda leaf: leaf[None], state)
    assert policy.goals({"env_state": states}) is None
    history = jax.tree.map(lambda leaf: jnp.stack([leaf * 0, leaf], axis=1), {"x": states.physics})
    np.testing.assert_array_equal(policy.problems(history, jnp.zeros((1, 1, 1)), None)["x"], states.physics)
    assert policy.seen({"env_state": states}) is states
    actions = jnp.asarray([[[1.0, -1.0], [0.5, 0.5]], [[0.0, 0.0], [0.0, 1.0]]])
    expected = np.square(float(state.physics[0]) + 0.5 * np.array([1.0, 1.0]) - 2.0)
    np.testing.assert_allclose(policy.cost(state, actions), expected, rtol=1e-6)
    np.testing.assert_array_equal(policy.to_env(actions[..., :1]), actions[..., :1])
