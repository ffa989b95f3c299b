"""The loop: what a policy sees, when an episode ends, what is kept, and weights that are arguments of the program."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, unchecked_types

from envs_mjx.checks import UserError
from swmjax.checkpoints import load_pretrained
from swmjax.models import OracleModel
from swmjax.planning import CEMSolver, GoalMSE
from swmjax.policies import (
    ActionBox,
    PhysicsPolicy,
    PlanConfig,
    Policy,
    RandomPolicy,
    Scaler,
    Start,
    WorldModelPolicy,
    rollout,
)

ENV = GoalEnv(gain=0.25)
MINI = Path(__file__).parents[1] / "golden" / "lewm_mini_hf4"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Forward(Policy):
    """Goes on by the same amount, counts its actions, and remembers what it saw first."""

    pace: float
    inputs: tuple = field(default=("x", "goal_x", "env_state"), metadata={"static": True})

    def init(self, seeds, obs):
        return {"count": jnp.zeros(seeds.shape, jnp.int32), "first": obs}

    def act(self, carry, obs, alive):
        assert set(obs) == set(self.inputs)
        actions = jnp.full((alive.shape[0], 1), self.pace)
        return actions, carry | {"count": carry["count"] + alive}

    def reset(self, carry, rows):
        return carry


def start(**changes):
    """Three episodes from -1, 0 and 1 towards 1."""
    states = jax.vmap(ENV.reset)(jax.random.split(jax.random.key(0), 3))
    places = jnp.asarray([[-1.0], [0.0], [1.0]])
    goals = jnp.ones((3, 1))
    states = jax.vmap(lambda state, x, goal: ENV.set_goal(ENV.set_state(state, x), goal))(states, places, goals)
    shown = jax.vmap(ENV.set_state)(states, goals)
    return Start(states=states, seeds=jnp.arange(3), goals=shown, **changes)


@jax.jit
def played(policy, start):
    return rollout(
        ENV, policy, start, 6, until="success", keep=lambda states, memory: (states.physics, memory["count"])
    )


def test_solved_episodes_stand_still_and_are_not_acted_for():
    found = jax.device_get(played(Forward(1.0), start()))
    places, counts = found.kept
    np.testing.assert_allclose(places[:, 0, 0], [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5])
    np.testing.assert_allclose(places[:, 1, 0], [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(places[:, 2, 0], np.ones(7))
    assert (found.length.tolist(), found.ended.tolist()) == ([6, 4, 0], [False, True, True])
    assert counts[-1].tolist() == found.length.tolist()
    assert found.actions.shape == (6, 3, 1)
    np.testing.assert_array_equal(found.states.physics, places[-1])


def test_rows_that_are_not_played_stand_still():
    found = jax.device_get(played(Forward(1.0), start(alive=jnp.asarray([False, True, False]))))
    assert found.length.tolist() == [0, 4, 0]
    # Nothing is computed once all are over.
    assert found.actions[:, 1, 0].tolist() == [1.0] * 4 + [0.0] * 2


def test_a_policy_sees_goals_from_the_start():
    found = jax.device_get(played(Forward(1.0), start()))
    first = found.carry["first"]
    np.testing.assert_array_equal(first["goal_x"], np.ones((3, 1)))
    np.testing.assert_array_equal(first["x"], [[-1.0], [0.0], [1.0]])
    np.testing.assert_array_equal(first["env_state"].physics, first["x"])


def test_an_episode_goes_on_from_where_it_was():
    whole = played(Forward(1.0), start())
    first = jax.jit(lambda policy, start: rollout(ENV, policy, start, 2, until="success"))(Forward(1.0), start())
    assert (first.kept, first.actions) == (None, None)
    second = rollout(ENV, Forward(1.0), start(carry=first.carry).replace(states=first.states), 4, until="success")
    np.testing.assert_array_equal(second.states.physics, whole.states.physics)
    np.testing.assert_array_equal(first.length + second.length, whole.length)
    np.testing.assert_array_equal(second.carry["count"], whole.carry["count"])


def test_until_the_end_a_solved_start_is_played():
    found = rollout(ENV, Forward(1.0), start(), 4)
    assert found.length.tolist() == [4, 4, 4]
    assert found.ended.tolist() == [False, True, False]
    np.testing.assert_allclose(found.states.physics[:, 0], [0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (("y",), r"unknown observation of GoalEnv 'y'; known are .*'distance', .*'pixels', 'x'"),
        (("goal_x",), r"Forward reads goal_x, but these episodes have no goals"),
    ],
)
def test_what_is_not_there_is_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        rollout(ENV, Forward(1.0, inputs), start().replace(goals=None), 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"states": ENV.reset(jax.random.key(0))},
            r"rollout plays a batch of episodes, got the state of one: jax.vmap",
        ),
        ({"seeds": 0}, "seeds must be an array of whole numbers, one for each of the 3 episodes, got 0"),
        ({"seeds": jnp.arange(2)}, r"one for each of the 3 episodes, got int32 of shape \[2\]"),
        ({"seeds": jax.random.split(jax.random.key(0), 3)}, r"one for each of the 3 episodes, got key<fry> of shape"),
    ],
)
def test_starts_that_are_no_batch_are_refused_in_a_sentence(changes, message):
    with unchecked_types(), pytest.raises(UserError, match=message):
        rollout(ENV, RandomPolicy.of(ENV.action_space), start().replace(**changes), 3)
    one = jax.tree.map(lambda leaf: leaf[0], start().states)
    with (
        unchecked_types(),
        pytest.raises(UserError, match="rollout plays a batch of episodes, got the state of one: jax"),
    ):
        rollout(ENV, RandomPolicy.of(ENV.action_space), start().replace(states=one), 3)


def test_seeds_of_a_policy_are_an_array():
    for policy in (
        RandomPolicy.of(ENV.action_space),
        PhysicsPolicy(OracleModel(ENV), CEMSolver(), PlanConfig(1, 1, 1), ENV.planning_cost),
    ):
        with unchecked_types(), pytest.raises(UserError, match="seeds must be an array of whole numbers, one for each"):
            policy.init(0, {})


def test_frames_are_made_only_when_they_are_looked_at():
    shown = []

    @dataclass(frozen=True)
    class Filmed(GoalEnv):
        def _render(self, state):
            jax.debug.callback(lambda x: shown.append(float(x)), state.physics[0])
            return super()._render(state)

    env = Filmed(gain=0.25)

    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Glance(Forward):
        def looks(self, carry, alive):
            return (carry["count"] == 2).any()

    policy = Glance(1.0, ("pixels",))
    one = jax.tree.map(lambda leaf: leaf[:1], start())
    jax.block_until_ready(jax.jit(lambda policy, start: rollout(env, policy, start, 5))(policy, one))
    jax.effects_barrier()
    assert sorted(shown) == [-1.0, -0.5]  # for `init`, and before the third action


def test_weights_are_arguments_of_the_program():
    model = load_pretrained(MINI)
    policy = WorldModelPolicy(
        model,
        CEMSolver(num_samples=4, n_steps=1, topk=2),
        PlanConfig(2, 1, 10),
        ActionBox.of(ENV.action_space),
        Scaler.identity(1),
        GoalMSE(),
        image_size=56,
    )
    text = jax.jit(lambda policy, start: rollout(ENV, policy, start, 1)).lower(policy, start()).as_text()
    sizes = [
        np.prod([int(n) for n in shape.split("x")[:-1]]) for shape in re.findall(r"dense<.*?> : tensor<(.*?)>", text)
    ]
    weights = sum(leaf.size for leaf in jax.tree.leaves(model))
    assert weights > 10_000
    assert max(sizes) < 1_000
