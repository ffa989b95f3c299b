"""One smoke matrix over every registered environment."""

import functools

import gymnasium
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs_mjx
from envs_mjx import programs
from envs_mjx.arguments import checked_action

# Those with an extra have tests of their own, since their programs take long to compile.
IDS = [id for id in envs_mjx.registered_ids() if id.startswith("swm/") and envs_mjx.spec(id).extra is None]
# The discrete PushT is the other one behind a table of actions (`test_pusht_options.py`), and compiles as long again.
SLOW = ("swm/PushT-Discrete-v1",)
# Programs for round agents alone compile in half the time; `test_pusht_options.py` has the others.
OPTIONS = {"swm/PushT-v1": {"agent_shapes": "circle"}}
STEPS = 3


def every(*slow):
    """A test of all ids, of these in the slow suite only."""
    return pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.slow) if id in slow else id for id in IDS])


each = every(*SLOW)
# Programs of PushT that `test_pusht_env.py` and `test_pusht_options.py` have too.
each_but_pusht = every(*SLOW, "swm/PushT-v1")


@functools.cache
def make(id):
    return envs_mjx.make(id, **OPTIONS.get(id, {}))


@functools.cache
def actions_of(id):
    """A few actions, of the device's types, with a leading axis of steps."""
    space = make(id).action_space
    space.seed(3)
    return jax.tree.map(
        lambda *rows: jnp.stack([jnp.asarray(row) for row in rows]), *[space.sample() for _ in range(STEPS)]
    )


def row(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def numbers(state):
    """The state without its key, as NumPy arrays."""
    return jax.tree.map(
        np.asarray, {name: getattr(state, name) for name in ("obs", "reward", "terminated", "info", "step")}
    )


def assert_close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-3), numbers(left), numbers(right))


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, numbers(left), numbers(right))


@each
def test_is_frozen_and_hashable(id):
    env, again = (envs_mjx.make(id, **OPTIONS.get(id, {})) for _ in range(2))
    assert (env, hash(env)) == (again, hash(again))
    with pytest.raises(AttributeError):
        env.option_names = ()


@each
def test_steps_vmap_and_scan_agree(id):
    env, actions = make(id), actions_of(id)
    start = env.reset(jax.random.key(1))
    walked = [start, env.step(start, row(actions, 0))]
    compiled = programs.step._cache_size()
    for index in range(1, STEPS):
        walked.append(env.step(walked[-1], row(actions, index)))
    assert programs.step._cache_size() == compiled
    # Three copies in a batch, as scan, vmap and jit at once.
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), start)
    _, batch = jax.jit(jax.vmap(env.rollout, (0, None)))(copies, actions)
    for index in range(STEPS):
        for copy in range(3):
            assert_close(jax.tree.map(lambda leaf, i=index, c=copy: leaf[c, i], batch), walked[index + 1])


@each
def test_structure_and_types_never_change(id):
    env = make(id)
    start = env.reset(jax.random.key(1))
    after = env.step(start, row(actions_of(id), 0))
    assert jax.tree.structure(start) == jax.tree.structure(after)
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(start)] == [
        (leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(after)
    ]


@each
def test_reset_is_a_function_of_its_key(id):
    first, again, other = (make(id).reset(jax.random.key(seed)) for seed in (5, 5, 6))
    assert_same(first, again)
    assert (first.step, first.reward, first.info["invalid_action"]) == (0, 0, False)
    drawn = {name: np.asarray(value) for name, value in first.factors.items()}
    assert any(not np.array_equal(value, other.factors[name]) for name, value in drawn.items()) or not np.array_equal(
        jax.flatten_util.ravel_pytree(first.obs)[0], jax.flatten_util.ravel_pytree(other.obs)[0]
    )


@each
def test_spaces_contain_what_comes_out(id):
    env = make(id)
    state = env.reset(jax.random.key(2))
    for index in range(STEPS):
        state = env.step(state, row(actions_of(id), index))
        for leaf in jax.tree.leaves((state.obs, state.reward, state.info)):
            assert np.isfinite(leaf).all()
        seen = jax.tree.map(
            lambda part, value: np.asarray(value, part.dtype), dict(env.observation_space.spaces), dict(state.obs)
        )
        # Boxes of single precision are compared in it: a bound may be a rounding away from the value.
        assert env.observation_space.contains(seen), seen
    frame = env.render(state)
    assert (frame.ndim, frame.shape[-1], frame.dtype) == (3, 3, jnp.uint8)
    for name, value in state.factors.items():
        factor = env.variation_space.factor(name)
        assert factor.contains(np.asarray(value, factor.dtype)), name
    action = env.behaviour_action(jax.random.key(0), state)
    checked = checked_action(action, env.action_space)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(checked))


@each
def test_bad_actions_are_refused_or_flagged(id):
    env = make(id)
    state = env.reset(jax.random.key(1))
    action = row(actions_of(id), 0)
    with pytest.raises(ValueError, match="action"):
        env.step(state, jnp.zeros((7, 7)))
    if isinstance(env.action_space, gymnasium.spaces.Dict):
        bad = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), action)
    elif jnp.issubdtype(action.dtype, jnp.floating):
        bad = jnp.full_like(action, jnp.nan)
        with pytest.raises(ValueError, match="floating point"):
            env.step(state, action.astype(int))
    else:
        bad = jnp.full_like(action, 10_000)
        with pytest.raises(ValueError, match="integer"):
            env.step(state, action.astype(float))
    after = env.step(state, bad)
    assert after.info["invalid_action"]
    assert (after.reward, after.step) == (0, 1)
    jax.tree.map(np.testing.assert_array_equal, after.physics, state.physics)
    assert not env.step(after, action).info["invalid_action"]


@each
def test_goals_of_states_are_reached_there(id):
    env = make(id)
    state = env.step(env.reset(jax.random.key(4)), row(actions_of(id), 1))
    there = env.set_goal(state, env.goal_from(state))
    assert env.distance(there) == pytest.approx(0, abs=1e-4)
    assert env.planning_cost(there) == pytest.approx(0, abs=1e-6)
    assert env.planning_cost(state) >= 0


@each
def test_unknown_names_offer_the_nearest(id):
    env = make(id)
    name = env.variation_space.names()[0] if env.variation_space.names() else None
    for arguments in ({"options": {"stat": 0}}, {"variation": (f"{name}x",)}, {"values": {f"{name}x": 0}}):
        with pytest.raises(ValueError, match="unknown"):
            env.reset(jax.random.key(0), **arguments)


# The spaces are Gymnasium's own, whose checker has reservations about them.
@pytest.mark.filterwarnings("ignore:.*(recommend using a symmetric|A Box observation space m)")
@each_but_pusht
def test_gymnasium_takes_it(id):
    single = gymnasium.make(id, render_mode="rgb_array", **OPTIONS.get(id, {}))
    check_env(single.unwrapped, skip_render_check=True)


@each_but_pusht
def test_every_factor_can_be_drawn_at_once(id):
    """In a batch of Gymnasium's."""
    vector = gymnasium.make_vec(id, num_envs=3, **OPTIONS.get(id, {}))
    fixed = ("agent.shape",) if id in OPTIONS else ()
    space = vector.unwrapped.variation_space
    variation = tuple(name for name in space.names() if name not in fixed) if fixed else ("all",)
    observation, _ = vector.reset(seed=9, options={"variation": variation})
    factors = vector.unwrapped.state.factors
    assert jax.tree.leaves(observation)[0].shape[0] == 3
    vector.action_space.seed(0)
    for _ in range(2):
        observation, reward, terminated, truncated, _ = vector.step(vector.action_space.sample())
        for leaf in jax.tree.leaves((observation, reward)):
            assert isinstance(leaf, np.ndarray)
            assert np.isfinite(leaf).all()
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    for index in range(3):
        # Constraints look at the values of other factors.
        for name, value in factors.items():
            space.factor(name).value = np.asarray(value[index], space.factor(name).dtype)
        for name in factors:
            assert space.factor(name).contains(space.factor(name).value), (name, space.factor(name).value)
