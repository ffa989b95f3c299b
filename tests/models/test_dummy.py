"""The smallest world model, against its definition written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.recorded import drawn
from quick import quick_jit

from swmjax.models import WorldModel
from swmjax.models.dummy import DummyConfig, DummyWorldModel


def test_rollout_and_cost_by_hand():
    with jax.enable_x64(True):
        model = drawn(DummyWorldModel, DummyConfig((3, 4, 5), 2))
        model = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), model)
        rng = np.random.default_rng(0)
        frames, goal = rng.normal(size=(2, 3, 3, 4, 5)), rng.normal(size=(2, 1, 3, 4, 5))
        actions = rng.normal(size=(2, 4, 3, 2))
        weights, bias = (np.asarray(leaf[...]) for leaf in (model.encoder.kernel, model.encoder.bias))
        step_weights, step_bias = (np.asarray(leaf[...]) for leaf in (model.predictor.kernel, model.predictor.bias))

        @quick_jit
        def run(model, frames, goal, actions):
            return model.rollout(model.encode(frames), jnp.zeros((2, 2, 2)), actions), model.encode(goal)

        rolled, goals = map(np.asarray, run(model, frames, goal, actions))
        assert rolled.shape == (2, 4, 6, 10)
        for problem in range(2):
            z = frames[problem, -1].reshape(-1) @ weights + bias
            aim = goal[problem, 0].reshape(-1) @ weights + bias
            np.testing.assert_allclose(rolled[problem, 0, 2], z, rtol=1e-12)
            for candidate in range(4):
                last = z
                for action in actions[problem, candidate]:
                    last = np.concatenate([last, action]) @ step_weights + step_bias
                np.testing.assert_allclose(rolled[problem, candidate, -1], last, rtol=1e-10)
                cost = np.mean((rolled[problem, candidate, -1] - goals[problem, 0]) ** 2)
                np.testing.assert_allclose(cost, np.mean((last - aim) ** 2), rtol=1e-10)
        assert isinstance(model, WorldModel)


def test_bad_sizes():
    with pytest.raises(ValueError, match="DummyConfig.height must be an integer of at least 1, got 0"):
        DummyConfig((3, 0, 5), 2)
