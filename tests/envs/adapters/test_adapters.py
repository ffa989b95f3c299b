"""What every environment of another library promises, and that it is what the library gives by itself."""

import importlib

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.adapters.cases import (
    BATCH,
    GAMES,
    ROBOTS,
    STEPS,
    actions_of,
    bits,
    keys_of,
    made,
    programs,
    row,
    slow,
    walked,
)
from gymnasium.utils.env_checker import check_env
from quick import quick_jit

import envs_mjx
from swmjax.models import OracleModel

every = pytest.mark.parametrize("case", [*ROBOTS, *GAMES])
robots = pytest.mark.parametrize("case", ROBOTS)


def same(left, right):
    jax.tree.map(np.testing.assert_array_equal, bits(left), bits(right))


@every
def test_states_keep_their_structure_and_their_spaces(case):
    env, (_, step) = made(case), programs(case)
    assert (env, hash(env)) == (envs_mjx.make(case[0], **dict(case[1])), hash(env))
    states = walked(case)
    assert step._cache_size() == 1
    for state in states:
        assert jax.tree.structure(state) == jax.tree.structure(states[0])
        assert [leaf.dtype for leaf in jax.tree.leaves(state)] == [leaf.dtype for leaf in jax.tree.leaves(states[0])]
        for leaf in jax.tree.leaves((state.obs, state.reward, state.info)):
            assert np.isfinite(leaf).all()
        for index in range(BATCH):
            assert env.observation_space.contains(jax.tree.map(np.asarray, row(state.obs, index)))
    assert not states[0].step.any()
    assert not states[0].reward.any()
    np.testing.assert_array_equal(states[-1].step, STEPS)
    assert env.variation_space.names() == []


@every
def test_a_row_is_a_function_of_its_key_and_actions_alone(case):
    reset, step = programs(case)
    first, second = walked(case)[:2]
    again = reset(keys_of()[::-1])
    same(again, row(first, slice(None, None, -1)))
    same(step(again, actions_of(case)[0][::-1]), row(second, slice(None, None, -1)))
    obs = jax.tree.leaves(first.obs)
    assert any(not np.array_equal(leaf[0], leaf[1]) for leaf in obs)


@pytest.mark.parametrize("case", [ROBOTS[0], *map(slow, ROBOTS[1:])])
@pytest.mark.filterwarnings("ignore:Accessing")
def test_is_what_the_library_gives(case):
    """In double precision, since some robots settle for hundreds of steps before an episode starts."""
    with jax.enable_x64(True):
        env, (ours, advance) = made(case), programs.__wrapped__(case)
        reset, step = quick_jit(env.library.reset), quick_jit(env.library.step)
        state, key = ours(keys_of()), jax.random.split(keys_of()[1])[1]
        with jax.numpy_rank_promotion("allow"):
            their = reset(jax.random.split(key)[0])
        for actions in (*actions_of(case), None):
            np.testing.assert_allclose(state.obs["observation"][1], their.obs, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(state.reward[1], their.reward, rtol=1e-12, atol=1e-12)
            assert bool(state.terminated[1]) == bool(their.done)
            if actions is not None:
                state = advance(state, actions)
                with jax.numpy_rank_promotion("allow"):
                    their = step(their, actions[1].astype(jnp.float64))


@every
def test_a_bad_action_is_flagged_and_changes_nothing(case):
    env, (_, step) = made(case), programs(case)
    state, expected = walked(case)[:2]
    actions = actions_of(case)[0]
    wrong = jnp.nan if jnp.issubdtype(actions.dtype, jnp.floating) else 1000
    after = step(state, actions.at[1].set(jnp.full_like(actions[1], wrong)))
    np.testing.assert_array_equal(after.info["invalid_action"], [False, True, False])
    same(row(after.physics, 1), row(state.physics, 1))
    assert (after.reward[1], after.step[1]) == (0, 1)
    for index in (0, 2):
        same(row(after, index), row(expected, index))
    with pytest.raises(ValueError, match="action"):
        env.step(row(state, 0), jnp.zeros((7, 7)))


@robots
def test_a_picture_can_be_drawn(case):
    drawn(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", GAMES)
def test_a_game_is_drawn_without_the_library_s_pickles(case, monkeypatch):
    package = "craftax.craftax_classic" if "Classic" in case[0] else "craftax.craftax"
    constants = importlib.import_module(f"{package}.constants")
    for name in ("load_compressed_pickle", "save_compressed_pickle"):
        monkeypatch.setattr(constants, name, None)
    drawn(case)


def drawn(case):
    env = made(case)
    frame = np.asarray(quick_jit(env.render)(row(walked(case)[-1], 0)))
    assert (frame.ndim, frame.shape[-1], frame.dtype) == (3, 3, np.uint8)
    assert frame.std() > 5


@robots
def test_goals_and_returns(case):
    env, states = made(case), walked(case)
    state = row(states[1], 0)
    total = sum(float(later.reward[0]) for later in states[1:])
    if not any(bool(later.terminated[0]) for later in states):
        assert env.planning_cost(row(states[-1], 0)) == pytest.approx(-total, rel=1e-5)
    there = env.set_goal(state, env.goal_from(state))
    assert env.distance(there) == 0
    assert env.planning_cost(there) == 0
    elsewhere = env.set_goal(state, env.goal_from(row(states[-1], 1)))
    assert env.planning_cost(elsewhere) > 0
    assert env.distance(elsewhere) > 0
    for call in (env.set_goal, env.set_state):
        with pytest.raises(ValueError, match=r"entries \(\d+ positions, \d+ velocities\)"):
            call(state, jnp.zeros(3 * env._state_size))


@robots
def test_a_state_can_be_set(case):
    env, (_, step) = made(case), programs(case)
    first, second = walked(case)[:2]
    vectors = first.info["state"]
    moved = quick_jit(jax.vmap(env.set_state))(second, vectors)
    assert jax.tree.structure(moved) == jax.tree.structure(second)
    np.testing.assert_array_equal(moved.info["state"], vectors)
    np.testing.assert_array_equal(moved.step, 1)
    np.testing.assert_array_equal(moved.info["return"], second.info["return"])
    assert step._cache_size() == 1
    np.testing.assert_allclose(step(moved, actions_of(case)[0]).reward, second.reward, rtol=1e-3, atol=1e-4)
    assert step._cache_size() == 1


@robots
def test_a_row_that_diverges_ends_and_the_others_go_on(case):
    _, step = programs(case)
    state, expected = walked(case)[:2]

    def fast(path, leaf):
        # Some of Brax's physics go by the velocities of joints, others by those of bodies.
        wild = not {jax.tree_util.GetAttrKey(name) for name in ("qd", "qvel", "xd", "xd_i")}.isdisjoint(path)
        return leaf.at[1].set(1e30) if wild else leaf

    state = state.replace(physics=jax.tree_util.tree_map_with_path(fast, state.physics))
    after = step(state, actions_of(case)[0])
    np.testing.assert_array_equal(after.info["diverged"], [False, True, False])
    np.testing.assert_array_equal(after.truncated, [False, True, False])
    assert not after.terminated[1]
    assert after.reward[1] == 0
    same(row(after.physics, 1), row(state.physics, 1))
    for index in (0, 2):
        same(row(after, index), row(expected, index))


@robots
def test_time_ends_an_episode(case):
    env, (_, step) = made(case), programs(case)
    state = walked(case)[0]
    late = state.replace(step=state.step.at[0].set(env.time_limit - 1))
    np.testing.assert_array_equal(step(late, actions_of(case)[0]).truncated, [True, False, False])


@pytest.mark.parametrize("case", ROBOTS[:1])
def test_planning_through_the_library_earns_more(case):
    env = made(case)
    start = row(walked(case)[0], 0)
    candidates = jax.random.uniform(jax.random.key(0), (64, 6, 1), jnp.float32, -1.0, 1.0)
    model = OracleModel(env)
    costs = quick_jit(lambda state, actions: model.cost_fn(state, env.planning_cost)(actions))(start, candidates)
    assert costs.shape == (64,)
    # Until the pole has fallen, a step is worth 1: a bad plan loses it, a good one does not.
    assert costs.min() == -6
    assert costs.max() > -6
    np.testing.assert_array_equal(costs, costs.round())


@every
def test_gymnasium_knows_it(case):
    env = made(case)
    single, vector = gymnasium.make(case[0], **dict(case[1])), gymnasium.make_vec(case[0], BATCH, **dict(case[1]))
    assert single.unwrapped.env == vector.env == env
    assert (single.action_space, single.observation_space) == (env.action_space, env.observation_space)
    assert vector.single_action_space == env.action_space


# The spaces are the library's own, without bounds.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*A Box observation space m")
@pytest.mark.parametrize("case", [*ROBOTS[:2], GAMES[0]])
def test_gymnasium_runs_it(case):
    check_env(gymnasium.make(case[0], render_mode="rgb_array", **dict(case[1])).unwrapped, skip_render_check=True)
    vector = gymnasium.make_vec(case[0], BATCH, **dict(case[1]))
    vector.reset(seed=1)
    vector.action_space.seed(0)
    for _ in range(2):
        observation, reward, terminated, truncated, info = vector.step(vector.action_space.sample())
    assert observation["observation"].shape[0] == BATCH
    assert reward.shape == terminated.shape == truncated.shape == info["return"].shape == (BATCH,)
