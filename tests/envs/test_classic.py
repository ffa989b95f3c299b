"""Classic control: dynamics against Gymnasium's own step by step, factors, resets, goals, gradients."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.classic_originals import LANES, draws, each, original

from envs_mjx.classic import (
    AcrobotControl,
    CartPoleControl,
    ControlPhysics,
    MountainCarContinuousControl,
    MountainCarControl,
    PendulumControl,
)

# Steps without correction before each step starts from Gymnasium's state.
FREE = 25


def recorded(env, factors, seed, steps):
    """States before each step, actions, and what Gymnasium returned for them."""
    inner = original(env, factors)
    rng = np.random.default_rng(seed)
    inner.reset(seed=seed)
    rows = []
    for step in range(steps):
        if isinstance(env.action_space, gymnasium.spaces.Discrete):
            # Runs of equal actions, so that velocities and limits are met.
            if step % 4 == 0:
                action = rng.integers(env.action_space.n)
        else:
            action = (1.3 * env.action_space.high * np.sin(step / 7 + seed + rng.normal(size=1))).astype(np.float32)
        before = np.array(inner.unwrapped.state, np.float64)
        observation, reward, terminated, truncated, _ = inner.step(action)
        after = np.array(inner.unwrapped.state, np.float64)
        rows.append((before, action, after, observation, reward, terminated, truncated))
    return [np.stack(column) for column in zip(*rows, strict=True)]


@each
@pytest.mark.filterwarnings("ignore:.*already returned terminated")
def test_every_step_is_gymnasiums(env):
    steps = env.time_limit + 2
    lanes = [recorded(env, {name: value[i] for name, value in draws(env).items()}, i, steps) for i in range(LANES)]
    before, action, after, observation, reward, terminated, truncated = map(np.stack, zip(*lanes, strict=True))
    free = np.arange(steps) < FREE

    def run(values, before, action):
        state = env.reset(jax.random.key(0), values=values, options={"state": before[0]})

        def step(state, given):
            start, action, free = given
            vector = jnp.where(free, state.physics.vector, start)
            state = env.step(state.replace(physics=ControlPhysics(vector=vector, memory=state.physics.memory)), action)
            return state, state

        return jax.lax.scan(step, state, (before, action, free))[1]

    with jax.enable_x64(True):
        states = jax.jit(jax.vmap(run))(draws(env), before, action)
        assert states.physics.vector.dtype == jnp.float64
        np.testing.assert_allclose(states.physics.vector, after, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(states.reward, reward, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(states.obs["observation"], observation, rtol=2e-7, atol=1e-7)
        np.testing.assert_array_equal(states.info["state"], states.obs["observation"])
        assert states.info["state"].dtype == jnp.float32
        np.testing.assert_array_equal(states.terminated, terminated)
        np.testing.assert_array_equal(states.truncated, truncated)
        assert truncated[:, -3:].all()
        assert not truncated[:, :-3].any()
        assert terminated.any() == isinstance(env, CartPoleControl | AcrobotControl)


def test_factors_are_those_of_the_reference():
    def bounds(env, name):
        factor = env.variation_space.factor(name)
        low, high = factor.bounds
        return (low[0], factor.init_value[0], high[0])

    expected = {
        CartPoleControl(): {"gravity": 9.8, "masscart": 1, "length": 0.5, "force_mag": 10},
        MountainCarControl(): {"gravity": 0.0025, "force": 0.001, "max_speed": 0.07},
        MountainCarContinuousControl(): {"power": 0.0015, "max_speed": 0.07},
        AcrobotControl(): {
            **{f"link_{of}_{i}": 1 for of in ("length", "mass") for i in (1, 2)},
            **{f"link_com_pos_{i}": 0.5 for i in (1, 2)},
            "link_moi": 1,
        },
        PendulumControl(): {"g": 10, "m": 1, "l": 1},
    }
    # Most of them may halve or grow by half; these may not.
    others = {
        CartPoleControl(): {"masspole": (0.05, 0.1, 0.5), "tau": (0.01, 0.02, 0.04)},
        PendulumControl(): {"max_torque": (1, 2, 4), "max_speed": (4, 8, 12), "dt": (0.025, 0.05, 0.1)},
    }
    colors = {
        CartPoleControl(): ("bg", "cart", "pole", "axle"),
        AcrobotControl(): ("bg", "line", "link", "joint"),
        PendulumControl(): ("bg", "rod", "hub"),
    }
    for env, halves in expected.items():
        every = {name: (value / 2, value, value * 1.5) for name, value in halves.items()} | others.get(env, {})
        visuals = colors.get(env, ("bg", "fg"))
        assert sorted(env.variation_space.names()) == sorted(
            [*(f"physics.{name}" for name in every), *(f"visuals.{name}" for name in visuals)]
        )
        assert env.variation_space.sampling_order[0] == "physics"
        for name, values in every.items():
            np.testing.assert_allclose(bounds(env, f"physics.{name}"), values, rtol=1e-7)
        np.testing.assert_allclose(bounds(env, "visuals.bg"), (0.6, 1, 1), rtol=1e-7)
        for dark in {"cart", "fg", "line", "hub"} & set(visuals):
            np.testing.assert_allclose(bounds(env, f"visuals.{dark}"), (0, 0, 0.4), rtol=1e-7)
        assert env.default_variation == ()
    np.testing.assert_allclose(
        AcrobotControl().variation_space.factor("visuals.link").init_value, (0, 0.8, 0.8), rtol=1e-7
    )


@each
def test_spaces_are_gymnasiums(env):
    inner = original(env)
    assert env.action_space == inner.action_space
    assert env.observation_space["observation"] == inner.observation_space


def test_starts_have_gymnasiums_distribution():
    keys = jax.random.split(jax.random.key(3), 2_000)

    def starts(env, **options):
        vectors = jax.vmap(lambda key: env.reset(key, options=options).physics.vector)(keys)
        return np.asarray(vectors)

    def assert_uniform(values, low, high):
        assert values.min() >= low
        assert values.max() <= high
        np.testing.assert_allclose(values.mean(0), (low + high) / 2, atol=0.03 * (high - low))
        np.testing.assert_allclose(values.std(0), (high - low) / np.sqrt(12), rtol=0.05)

    assert_uniform(starts(CartPoleControl()), -0.05, 0.05)
    assert_uniform(starts(CartPoleControl(), low=-1.0, high=0.5), -1.0, 0.5)
    assert_uniform(starts(AcrobotControl()), -0.1, 0.1)
    for env in (MountainCarControl(), MountainCarContinuousControl()):
        vectors = starts(env)
        assert_uniform(vectors[:, 0], -0.6, -0.4)
        assert not vectors[:, 1].any()
    vectors = starts(PendulumControl())
    assert_uniform(vectors[:, 0], -np.pi, np.pi)
    assert_uniform(vectors[:, 1], -1, 1)
    vectors = starts(PendulumControl(), x_init=0.5, y_init=2.0)
    assert_uniform(vectors[:, 0], -0.5, 0.5)
    assert_uniform(vectors[:, 1], -2, 2)


@each
def test_states_and_goals_may_be_vectors_or_observations(env):
    state = env.reset(jax.random.key(5), options={"low": None})
    vector = state.physics.vector
    goal = jnp.asarray(env.natural_goal)
    np.testing.assert_array_equal(state.goal, goal)
    assert env.distance(state) > 0
    assert not state.terminated
    assert not state.info["invalid_action"]

    reached = env.set_goal(state, env.goal_from(state))
    assert env.distance(reached) == 0
    assert env.planning_cost(reached) == 0
    np.testing.assert_allclose(env.set_goal(state, state.info["state"]).goal, vector, rtol=1e-6, atol=1e-7)
    moved = env.set_state(state, goal)
    np.testing.assert_array_equal(moved.physics.vector, goal)
    assert env.planning_cost(moved) == 0
    assert moved.terminated == (not isinstance(env, CartPoleControl | PendulumControl))
    again = env.set_state(state, state.info["state"])
    np.testing.assert_allclose(again.physics.vector, vector, rtol=1e-6, atol=1e-7)
    same = env.reset(jax.random.key(1), options={"state": vector, "goal_state": vector})
    np.testing.assert_array_equal(same.obs["observation"], state.obs["observation"])
    assert env.distance(same) == 0
    # Angles are compared around the circle.
    for angle in env.angles:
        turned = vector + 2 * np.pi * (np.arange(len(vector)) == angle)
        np.testing.assert_allclose(env.distance(env.set_state(reached, turned)), 0, atol=1e-5)
        np.testing.assert_allclose(env.planning_cost(env.set_state(reached, turned)), 0, atol=1e-9)
    action = env.behaviour_action(jax.random.key(2), state)
    assert env.action_space.contains(np.asarray(action, env.action_space.dtype))
    stepped = env.step(moved, action)
    assert jax.tree.structure(stepped) == jax.tree.structure(state)
    assert [leaf.dtype for leaf in jax.tree.leaves(stepped)] == [leaf.dtype for leaf in jax.tree.leaves(state)]


def test_bad_arguments_are_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"state must have 4 entries \(theta1, .*or be an observation of 6, got"):
        AcrobotControl().reset(key, options={"state": np.zeros(3)})
    with pytest.raises(
        ValueError, match=r"goal_state must have 2 entries \(position, velocity\), got the shape \(2, 1\)"
    ):
        MountainCarControl().reset(key, options={"goal_state": np.zeros((2, 1))})
    with pytest.raises(ValueError, match="option low .0.5. must not exceed option high .0.05."):
        CartPoleControl().reset(key, options={"low": 0.5})
    with pytest.raises(ValueError, match="option low .0.5. must not exceed option high .0.1."):
        gymnasium.make("swm/CartPoleControl-v1").reset(seed=0, options={"low": 0.5, "high": 0.1})
    with pytest.raises(ValueError, match="option high must be a single number"):
        CartPoleControl().reset(key, options={"high": np.ones(4)})
    with pytest.raises(ValueError, match="option x_init must be a single number"):
        PendulumControl().reset(key, options={"x_init": np.ones(2)})
    with pytest.raises(ValueError, match="option state says where to start, so low must not be given besides"):
        CartPoleControl().reset(key, options={"low": 0.0, "state": np.zeros(4)})
    with pytest.raises(ValueError, match="unknown option of PendulumControl.reset 'low'"):
        PendulumControl().reset(key, options={"low": 0.0})
    with pytest.raises(ValueError, match="physics.dt"):
        PendulumControl().reset(key, values={"physics.dt": [0.5]})
    with pytest.raises(ValueError, match="action must be integer of shape"):
        CartPoleControl().step(CartPoleControl().reset(key), jnp.zeros(()))


@each
def test_gradients_of_rollouts_match_differences(env):
    # Steps of differences: the continuous car's state is rounded to float32.
    coarse = isinstance(env, MountainCarContinuousControl)
    by_actions = isinstance(env.action_space, gymnasium.spaces.Box)
    step = 0.05 if coarse else 1e-6
    with jax.enable_x64(True):
        start = env.reset(jax.random.key(8))
        if by_actions:
            actions = jax.random.uniform(jax.random.key(1), (20, 1), jnp.float64, -0.9, 0.9)
        else:
            actions = jax.random.randint(jax.random.key(1), (20,), 0, env.action_space.n)

        def cost(given):
            state = start if by_actions else env.set_state(start, given)
            final, rewards = jax.lax.scan(
                lambda state, action: ((after := env.step(state, action)), after.reward),
                state,
                given if by_actions else actions,
            )
            return env.planning_cost(final) + env.distance(final) - 0.01 * rewards.sum()

        point = actions if by_actions else start.physics.vector
        bumps = step * jnp.eye(point.size).reshape(-1, *point.shape)
        gradient, differences = jax.jit(
            lambda: (
                jax.grad(cost)(point),
                jax.vmap(lambda bump: (cost(point + bump) - cost(point - bump)) / (2 * step))(bumps),
            )
        )()
        scale = np.abs(differences).max()
        tolerance = 2e-3 if coarse else 1e-6
        np.testing.assert_allclose(gradient.reshape(-1), differences, rtol=tolerance, atol=tolerance * scale)
        assert scale > 1e-3


@each
def test_no_gradient_is_nan(env):
    size = len(env.state_names)
    start = env.reset(jax.random.key(0))
    action = jnp.zeros(env.action_space.shape, jnp.float32 if env.action_space.shape else jnp.int32)

    @jax.jit
    @jax.vmap
    @jax.grad
    def slope(vector):
        after = env.step(env.set_state(start, vector), action)
        here = env.set_state(start, vector)
        return sum(f(state) for state in (here, after) for f in (env.distance, env.planning_cost)) + after.reward

    special = [np.zeros(size), env.natural_goal, np.full(size, np.pi), np.full(size, -np.pi), np.full(size, 20.0)]
    special += [np.full(size, -1.2), np.full(size, 0.07)]
    assert np.isfinite(slope(jnp.asarray(np.stack(special), jnp.float32))).all()
