"""Environments around environments: time limits, restarts, blocks of actions."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, unchecked_types
from toy_env import PointEnv

from envs_mjx import programs
from envs_mjx.wrappers import ActionBlock, AutoReset, FlatAction, TimeLimit

START = {"variation": ()}


def same_structure(left, right):
    return jax.tree.structure(left) == jax.tree.structure(right) and [
        (leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(left)
    ] == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(right)]


@pytest.mark.parametrize("wrap", [lambda env: TimeLimit(env, 5), lambda env: ActionBlock(env, 1), AutoReset])
def test_what_a_wrapper_does_not_change_is_that_of_the_environment_inside(wrap):
    inside = GoalEnv(gain=0.1)
    env = wrap(inside)
    assert (env, hash(env)) == (wrap(inside), hash(wrap(inside)))
    assert env != inside
    assert env.action_space == inside.action_space
    assert env.observation_space == inside.observation_space
    assert env.variation_space.names() == inside.variation_space.names()
    assert (env.default_variation, env.option_names, env.has_success) == (("start.x",), ("goal",), True)
    with pytest.raises(ValueError, match="did you mean 'goal'"):
        env.reset(jax.random.key(0), options={"goals": 1})

    key = jax.random.key(4)
    state, other = env.reset(key), inside.reset(key)
    np.testing.assert_array_equal(state.physics, other.physics)
    assert (env.distance(state), env.planning_cost(state)) == (inside.distance(other), inside.planning_cost(other))
    np.testing.assert_array_equal(env.behaviour_action(key, state).shape, (1,))
    np.testing.assert_array_equal(env.render(state), inside.render(other))
    state, other = env.step(state, jnp.ones(1)), inside.step(other, jnp.ones(1))
    np.testing.assert_array_equal(state.physics, other.physics)
    assert (state.reward, state.step) == (other.reward, other.step)
    assert same_structure(state, env.reset(key))
    assert same_structure(state, env.set_state(state, jnp.zeros(1)))
    assert env.set_state(state, jnp.zeros(1)).success
    assert env.set_goal(state, env.goal_from(state)).success


def test_a_time_limit_cuts_and_does_not_hide_other_ends():
    env = TimeLimit(GoalEnv(gain=0.1), 2)
    state = env.reset(jax.random.key(0), **START, options={"goal": jnp.asarray([0.75])})
    assert not state.truncated
    first = env.step(state, jnp.ones(1))
    assert not (first.truncated | first.terminated)
    second = env.step(first, jnp.ones(1))
    assert second.truncated
    assert second.terminated
    # What is refused does not change the state, but takes its step.
    refused = env.step(first, jnp.full(1, jnp.nan))
    assert (refused.step, refused.truncated, refused.info["invalid_action"]) == (2, False, True)
    assert env.set_state(second, jnp.zeros(1)).truncated


def walk(env, steps, action=1.0):
    """States of three environments that do the same action again and again, [steps + 1, 3, ...]."""
    states = programs.reset_batch(env, jax.random.split(jax.random.key(2), 3))
    seen = [states]
    for _ in range(steps):
        seen.append(programs.step_batch(env, seen[-1], jnp.full((3, 1), action)))
    assert same_structure(seen[0], seen[-1])
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen)


def test_restarts_at_the_same_step_keep_what_the_end_was_like():
    inside = TimeLimit(PointEnv(gain=0.01), 2)
    seen = walk(AutoReset(inside), 5)
    np.testing.assert_array_equal(seen.step[:, 0], [0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(seen.truncated[:, 0], [0, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(seen.info["restarted"], seen.truncated)
    # The end is that of the episode, the observation that of the next one's start.
    first = seen.physics[0, :, 0]
    np.testing.assert_allclose(seen.info["final_obs"]["x"][2, :, 0], first + 0.02, rtol=1e-5)
    np.testing.assert_allclose(seen.reward[2], -jnp.abs(first + 0.02), rtol=1e-5)
    np.testing.assert_array_equal(seen.info["final_info"]["distance"][2], -seen.reward[2])
    np.testing.assert_array_equal(seen.obs["x"][2], seen.physics[2])
    assert len(np.unique(np.asarray(seen.physics)[[0, 2, 4]])) == 9
    # How an episode starts depends on the key and the count of the last state alone.
    keys = jax.random.split(jax.random.key(2), 3)
    ended = inside.step(inside.step(inside.reset(keys[1]), jnp.ones(1)), jnp.ones(1))
    again = inside.reset(jax.random.fold_in(ended.key, ended.step))
    np.testing.assert_array_equal(again.physics, seen.physics[2, 1])


class FallingEnv(PointEnv):
    """The point, which has fallen for good when its episode is over."""

    def _advance(self, state, action):
        moved = super()._advance(state, action)
        over = state.terminated | state.truncated
        return moved.replace(physics=jnp.where(over, state.physics, moved.physics), terminated=over | moved.terminated)


def test_the_environment_inside_does_not_take_an_end_for_that_of_the_new_episode():
    seen = walk(AutoReset(TimeLimit(FallingEnv(gain=0.01), 2)), 4)
    np.testing.assert_array_equal(seen.terminated, np.zeros((5, 3), bool))
    np.testing.assert_allclose(seen.physics[3] - seen.physics[2], np.full((3, 1), 0.01), atol=1e-6)


def test_restarts_at_the_next_step_do_not_look_at_the_action():
    inside = TimeLimit(PointEnv(gain=0.01), 2)
    env = AutoReset(inside, mode="next_step")
    seen = walk(env, 5)
    np.testing.assert_array_equal(seen.step[:, 0], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(seen.truncated[:, 0], [0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(seen.info["restarted"][:, 0], [0, 0, 0, 1, 0, 0])
    assert "final_obs" not in seen.info
    last = jax.tree.map(lambda leaf: leaf[2, 0], seen)
    for action in (jnp.ones(1), jnp.full(1, jnp.nan)):
        begun = env.step(last, action)
        np.testing.assert_array_equal(begun.physics, seen.physics[3, 0])
        assert (begun.reward, begun.step, begun.info["invalid_action"]) == (0, 0, False)


@pytest.mark.parametrize(("mode", "steps"), [("same_step", [0, 0, 0]), ("next_step", [0, 1, 0, 0])])
def test_an_episode_that_ends_where_it_starts_is_stepped_once_unless_it_is_a_restarts(mode, steps):
    env = AutoReset(GoalEnv(), (), mode)
    state = env.reset(jax.random.key(0), **START, options={"goal": jnp.asarray([0.5])})
    assert state.terminated
    seen = [state]
    for _ in steps[1:]:
        # Restarted ones have the goal 0 and start at 0.5, and one that stays in reach ends at every step.
        seen.append(env.step(env.set_goal(seen[-1], seen[-1].physics), jnp.zeros(1)))
    assert [int(state.step) for state in seen] == steps
    assert [bool(state.info["restarted"]) for state in seen] == [False] + [step == 0 for step in steps[1:]]


def test_restarts_are_computed_only_where_something_has_ended():
    env = AutoReset(PointEnv())
    states = programs.reset_batch(env, jax.random.split(jax.random.key(2), 3))
    jaxpr = jax.make_jaxpr(lambda states, actions: programs.step_batch(env, states, actions))(states, jnp.ones((3, 1)))
    outside = [equation.primitive.name for equation in jaxpr.eqns]
    assert "cond" in outside
    assert not [name for name in outside if "random" in name or "threefry" in name]


def test_a_block_is_its_actions_one_after_the_other():
    inside = GoalEnv(gain=0.1)
    env = ActionBlock(inside, 3)
    assert env.action_space.shape == (3,)
    start = env.reset(jax.random.key(0), **START, options={"goal": jnp.asarray([5.0])})
    actions = jnp.asarray([0.5, -1.0, 0.25])
    after = env.step(start, actions)
    single, total = start, 0.0
    for action in actions:
        single = inside.step(single, action[None])
        total += single.reward
    np.testing.assert_allclose(after.physics, single.physics, rtol=1e-6)
    np.testing.assert_allclose(after.reward, total, rtol=1e-6)
    assert (after.step, after.info["invalid_action"]) == (3, False)
    # Nothing is done after the end.
    near = env.set_goal(start, jnp.asarray([0.55]) + 0.12)
    ended = env.step(near, jnp.ones(3))
    assert (ended.step, ended.success) == (1, True)
    np.testing.assert_allclose(ended.reward, -0.07, rtol=1e-5)
    # A block with a number that is none is refused as a whole.
    refused = env.step(start, jnp.asarray([0.5, jnp.nan, 0.0]))
    np.testing.assert_array_equal(refused.physics, start.physics)
    assert (refused.reward, refused.info["invalid_action"]) == (0, True)
    assert env.behaviour_action(jax.random.key(0), start).shape == (3,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimeLimit(PointEnv(), 0), "TimeLimit.max_steps must be an integer of at least 1, got 0"),
        (lambda: TimeLimit(AutoReset(PointEnv()), 3), "AutoReset must be the outermost wrapper: write AutoReset.Tim"),
        (lambda: AutoReset(PointEnv(), mode="later"), "AutoReset.mode must be one of 'same_step', 'next_step', got"),
        (lambda: AutoReset(PointEnv(), ("start.y",)), "start.y"),
        (lambda: ActionBlock(PointEnv(), 1.5), "ActionBlock.size must be an integer of at least 1, got 1.5"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make, message):
    with unchecked_types(), pytest.raises(ValueError, match=message):
        make()


class PartsEnv(GoalEnv):
    """The goal environment with an action of two parts, which add up."""

    @property
    def action_space(self):
        pull, push = (
            gymnasium.spaces.Box(-2.0, 2.0, (2, 1), np.float32),
            gymnasium.spaces.Box(-1.0, 3.0, (1,), np.float32),
        )
        return gymnasium.spaces.Dict({"pull": pull, "push": push})

    def _advance(self, state, action):
        return super()._advance(state, action["pull"].sum(0) + 10 * action["push"])

    def behaviour_action(self, key, state):
        return {"push": jnp.full(1, 2.0), "pull": jnp.asarray([[0.5], [0.25]])}


def test_actions_of_several_parts_as_one_vector():
    env = FlatAction(PartsEnv())
    np.testing.assert_array_equal(env.action_space.low, np.asarray([-2.0, -2.0, -1.0], np.float32))
    np.testing.assert_array_equal(env.action_space.high, np.asarray([2.0, 2.0, 3.0], np.float32))
    key = jax.random.key(0)
    state = env.reset(key, **START)
    np.testing.assert_array_equal(env.behaviour_action(key, state), np.asarray([0.5, 0.25, 2.0], np.float32))
    moved = env.step(state, jnp.asarray([0.5, 0.25, 2.0]))
    np.testing.assert_array_equal(
        moved.physics, PartsEnv().step(state, PartsEnv().behaviour_action(key, state)).physics
    )
    with pytest.raises(ValueError, match="FlatAction needs an environment with a Dict of Boxes"):
        FlatAction(GoalEnv())
