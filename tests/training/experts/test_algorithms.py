"""SAC and PPO on a toy: they learn, they follow the contract, and Brax agrees with the exported actor."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, unchecked_types
from tiny_training import settings

from swmjax.models.actor import OBSERVATION_LIMIT
from swmjax.training import PPO, SAC, TrainingEnv, loop
from swmjax.training.experts.brax import brax_parts
from swmjax.training.experts.env import Experience
from swmjax.training.experts.run import ExpertLearner, _play
from swmjax.training.experts.sac import _transitions

SMALL = {name: settings(name).make_algorithm() for name in ("sac", "ppo")}
ENV = TrainingEnv(GoalEnv(gain=0.2), episode_steps=8)


@functools.cache
def learner(name):
    return ExpertLearner(SMALL[name], ENV, settings(name).iterations_per_epoch)


@functools.cache
def trained(name):
    """States before and after some seconds of training, and what the last epoch told."""
    state = loop._init(learner(name), jax.random.key(0))
    for _ in range(125 if name == "sac" else 30):
        state, losses = loop._epoch(learner(name), state, None)
    return loop._init(learner(name), jax.random.key(0)), state, losses


def mean_return(name, state, random=False):
    actor = loop._export(learner(name), state)
    keys = jax.random.split(jax.random.key(1), 6)
    return np.mean([_play(ENV, settings(name).eval_episodes, actor, key, jnp.asarray(random))[0] for key in keys])


@pytest.mark.parametrize("name", SMALL)
def test_it_learns_to_walk_to_the_goal(name):
    start, state, losses = trained(name)
    before, after = mean_return(name, start), mean_return(name, state)
    assert after > 0.6 * before
    assert after > 0.6 * mean_return(name, state, random=True)
    assert all(np.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("name", SMALL)
def test_steps_and_updates_are_counted(name):
    algorithm, state = SMALL[name], trained(name)[1]
    if name == "sac":
        # 4 iterations of random actions come before the first of the updates.
        assert (int(state.steps), int(state.updates)) == (2000, 496 * 4)
    else:
        assert (int(state.steps), int(state.updates)) == (30 * algorithm.steps_per_iteration, 30 * 8)


@pytest.mark.parametrize("name", SMALL)
def test_the_actor_is_the_network_of_brax(name):
    state = trained(name)[1]
    observation = jax.random.normal(jax.random.key(5), (7, 1))
    networks = SMALL[name]._networks(ENV)
    policy = state.policy if name == "sac" else state.networks.policy
    logits = networks.policy_network.apply(state.statistics, policy, observation)
    actor = SMALL[name].actor(ENV, state)
    np.testing.assert_allclose(
        actor.mode({"x": observation}), networks.parametric_action_distribution.mode(logits), atol=1e-6
    )
    key = jax.random.key(9)
    np.testing.assert_allclose(
        actor.sample(key, {"x": observation}),
        networks.parametric_action_distribution.sample(logits, key),
        atol=1e-6,
    )


def test_observations_are_standardised_with_running_statistics():
    state = trained("sac")[1]
    start = trained("sac")[0]
    early = jax.tree.map(jnp.copy, start)
    for _ in range(3):
        early, _ = loop._epoch(learner("sac"), early, None)
    seen = early.replay.data.observation[: int(early.replay.size)]
    assert len(seen) == 48
    np.testing.assert_allclose(early.statistics.mean, seen.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(early.statistics.std, seen.std(axis=0), rtol=1e-4)
    far = SMALL["sac"].actor(ENV, state)
    limits = [far.mode({"x": jnp.full((1, 1), sign * scale)}) for sign in (-1, 1) for scale in (1e3, 1e6)]
    assert limits[0] == limits[1]
    assert limits[2] == limits[3]
    assert OBSERVATION_LIMIT == 10.0


def test_only_the_end_of_a_task_stops_bootstrapping():
    rows = jnp.arange(4)
    step = Experience(
        observation=jnp.zeros((4, 1)),
        action=jnp.zeros((4, 1)),
        reward=jnp.zeros(4),
        next_observation=jnp.zeros((4, 1)),
        terminated=rows == 1,
        cut=rows == 2,
        broken=rows == 3,
    )
    batch = _transitions(step)
    np.testing.assert_array_equal(batch.discount, [1, 0, 1, 1])
    np.testing.assert_array_equal(batch.extras["state_extras"]["truncation"], [0, 0, 0, 1])


def test_the_entropy_aimed_at_shifts_the_loss_of_the_temperature():
    state = trained("sac")[1]
    batch = _transitions(state.replay.sample(jax.random.key(1), 8))

    def loss(target):
        update = dataclasses.replace(SMALL["sac"], target_entropy=target)._updates(ENV)[0]
        arguments = state.log_alpha, state.policy, state.statistics, batch, jax.random.key(2)
        return float(jax.jit(update)(*arguments, optimizer_state=state.optimisers[2])[0])

    np.testing.assert_allclose(loss(-0.5) - loss(0.25), 0.75 * float(jnp.exp(state.log_alpha)), rtol=1e-4)


def test_ppo_learns_nothing_from_a_cut_step():
    parts = brax_parts()
    values, rewards = jnp.ones((3, 1)), jnp.full((3, 1), 5.0)
    targets, advantages = parts.ppo_losses.compute_gae(
        truncation=jnp.array([[0.0], [1.0], [0.0]]),
        termination=jnp.array([[0.0], [0.0], [1.0]]),
        rewards=rewards,
        values=values,
        bootstrap_value=jnp.array([100.0]),
    )
    assert advantages[1, 0] == 0.0
    assert advantages[2, 0] == 4.0
    assert targets[2, 0] == 5.0


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (SAC, {"num_envs": 0}, "algorithm.num_envs must be an integer of at least 1, got 0"),
        (SAC, {"learning_rate": "fast"}, "algorithm.learning_rate must be a number above 0, got 'fast'"),
        (SAC, {"discount": 1.5}, "algorithm.discount must be a number above 0 and up to 1, got 1.5"),
        (SAC, {"layer_norm": 1}, "algorithm.layer_norm must be true or false, got 1"),
        (SAC, {"hidden": ()}, "algorithm.hidden must be a list of integers of at least 1, got ()"),
        (SAC, {"hidden": 64}, "algorithm.hidden must be a list of integers of at least 1, got 64"),
        (SAC, {"target_entropy": float("nan")}, "algorithm.target_entropy must be a finite number, got nan"),
        (SAC, {"buffer_size": 3}, "algorithm.buffer_size must be at least num_envs (16), got 3"),
        (PPO, {"entropy_cost": -1.0}, "algorithm.entropy_cost must be a number of at least 0, got -1.0"),
        (PPO, {"num_envs": 12}, "algorithm.num_envs must be a multiple of minibatches (8), got 12"),
    ],
)
def test_hyperparameters_out_of_range(kind, options, message):
    with unchecked_types(), pytest.raises(ValueError) as caught:
        kind(**options)
    assert str(caught.value) == message
