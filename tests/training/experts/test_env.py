"""Episodes restart by themselves, and what training hears of their ends."""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_env import PointEnv

import envs_mjx
from swmjax.training import TrainingEnv


@dataclasses.dataclass(frozen=True)
class WildEnv(PointEnv):
    """The point, whose physics may be said to have diverged, and whose spaces may be others."""

    actions: gymnasium.Space | None = None

    @property
    def action_space(self):
        return self.actions or super().action_space

    def _observed(self, state):
        observed = super()._observed(state)
        return observed.replace(info=observed.info | {"diverged": jnp.abs(state.physics[0]) > 0.9})


def rolled(env, count, action=1.0, envs=6):
    """Steps with one action: what happened, stacked over time."""

    def step(states, _):
        return env.step(states, jnp.full((envs, env.action_size), action))

    states = env.reset(jax.random.split(jax.random.key(3), envs))
    return jax.jit(lambda states: jax.lax.scan(step, states, length=count))(states)[1]


def test_a_cut_episode_is_followed_by_a_fresh_one_but_ends_with_its_own_observation():
    env = TrainingEnv(PointEnv(gain=0.01), episode_steps=3)
    seen = rolled(env, 7, action=0.5)
    cut, before, after = np.asarray(seen.cut), np.asarray(seen.observation), np.asarray(seen.next_observation)
    running = ~np.asarray(seen.terminated).any(axis=0)
    assert running.sum() > 3
    assert cut[:, running].tolist() == [[step in (2, 5)] * running.sum() for step in range(7)]
    np.testing.assert_allclose(after[:, running] - before[:, running], 0.005, atol=1e-6)
    restarts = before[3][running], before[0][running]
    assert len(np.unique(np.concatenate(restarts))) == 2 * running.sum()


def test_success_is_terminated_and_not_cut():
    seen = rolled(TrainingEnv(PointEnv(gain=0.1), episode_steps=4), 12, action=-1.0)
    terminated, cut = np.asarray(seen.terminated), np.asarray(seen.cut)
    assert terminated.any()
    assert cut.any()
    assert not (terminated & cut).any()
    assert (np.abs(np.asarray(seen.next_observation)[terminated]) < 0.1).all()
    assert not np.asarray(seen.broken).any()


def test_diverged_physics_is_broken():
    seen = rolled(TrainingEnv(WildEnv(gain=0.3), episode_steps=50), 6)
    np.testing.assert_array_equal(seen.broken, np.abs(np.asarray(seen.next_observation)[..., 0]) > 0.9)
    assert np.asarray(seen.broken).any()


def test_an_episode_depends_on_its_own_key_alone():
    env = TrainingEnv(PointEnv(gain=0.01), episode_steps=3)
    keys = jax.random.split(jax.random.key(0), 4)
    for few, many in zip(*(jax.tree.leaves(jax.jit(env.reset)(k).obs) for k in (keys[:2], keys)), strict=True):
        np.testing.assert_array_equal(few, many[:2])


def test_actions_are_squashed_into_the_bounds_of_the_environment():
    env = TrainingEnv(envs_mjx.make("swm/PendulumControl-v1"))
    assert (env.low, env.high, env.observation_size) == (-2.0, 2.0, 3)


@pytest.mark.parametrize(
    ("env", "changes", "message"),
    [
        (
            WildEnv(actions=gymnasium.spaces.Discrete(3)),
            {},
            "WildEnv has the actions Discrete(3); an expert",
        ),
        (WildEnv(actions=gymnasium.spaces.Box(-np.inf, np.inf, (1,))), {}, "WildEnv has unbounded actions"),
        (WildEnv(actions=gymnasium.spaces.Box(-1.0, 1.0, (2, 2))), {}, "an expert needs a Box with one axis"),
        (PointEnv(), {"variation": ("start.y",)}, "start.y"),
    ],
)
def test_environments_that_no_expert_can_be_trained_for(env, changes, message):
    with pytest.raises(ValueError) as caught:
        TrainingEnv(env, **changes)
    assert message in str(caught.value)
