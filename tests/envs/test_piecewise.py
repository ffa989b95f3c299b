"""Piecewise: recorded trajectories, frames and expert actions, factors, zones, gradients, bad input."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types

from envs_mjx.piecewise import Piecewise, dynamics, expert_action

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
ENV = Piecewise(grid_n=3)


def start(agent, target=(30.0, 30.0), env=ENV, **values):
    # All factors are given, since each set of names has a program of its own.
    given = {name.replace("_", ".", 1): value for name, value in values.items()}
    space = env.variation_space
    values = {name: space.factor(name).init_value for name in space.names()} | given
    options = {"state": jnp.asarray(agent, jnp.float32), "target_state": jnp.asarray(target, jnp.float32)}
    return env.reset(jax.random.key(0), variation=(), values=values, options=options)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "piecewise.npz"))


@pytest.fixture(scope="module")
def replayed(golden):
    """States before every step and at the end, expert actions in them, first and last frames."""

    def replay(factors, agent, target, actions):
        options = {"state": agent, "target_state": target}
        first = ENV.reset(jax.random.key(0), variation=(), values=factors, options=options)

        def step(state, action):
            return ENV.step(state, action), (state, expert_action(state.key, state))

        last, (states, experts) = jax.lax.scan(step, first, actions)
        frames = jax.lax.map(ENV.render, jax.tree.map(lambda a, b: jnp.stack([a, b]), first, last))
        return states, last, experts, frames

    factors = {name.removeprefix("factor/"): value for name, value in golden.items() if name.startswith("factor/")}
    inputs = (factors, golden["state"][:, 0], golden["goal_state"], golden["action"])
    return jax.device_get(jax.jit(jax.vmap(replay))(*inputs))


def test_recorded_trajectories_are_met_to_the_bit(golden, replayed):
    states, last, _, _ = replayed
    np.testing.assert_array_equal(states.physics, golden["state"][:, :-1])
    np.testing.assert_array_equal(last.physics, golden["state"][:, -1])
    np.testing.assert_array_equal(states.terminated[:, 1:], golden["terminated"][:, :-1])
    assert 0 < golden["terminated"].sum() < golden["terminated"].size
    np.testing.assert_array_equal(states.obs["observation"][:, 5, :2], golden["state"][:, 5])
    assert not states.reward.any()
    zones = jax.vmap(lambda position: dynamics.zone(position, 3))(golden["state"].reshape(-1, 2))
    assert len(np.unique(zones)) == 9


def test_expert_gives_the_recorded_actions(golden, replayed):
    np.testing.assert_allclose(replayed[2][::2], golden["action"][::2], atol=1e-7)


def test_frames_equal_the_recorded_ones(golden, replayed):
    difference = np.abs(replayed[3].astype(int) - golden["frames"])
    assert difference.max() <= 1
    share = (difference.max(-1) > 0).mean((-2, -1))
    arrows = golden["factor/rendering.render_bias_field"] == 1
    assert share[~arrows].max() <= 1e-3
    assert share[arrows].max() <= 1e-2


def test_factors_are_those_of_the_reference(golden):
    space = Piecewise().variation_space
    assert [name for name in space.sampling_order if "." in name] == [
        "background.color",
        "border.color",
        *(f"agent.{name}" for name in ("color", "radius", "position", "speed")),
        "task.min_steps",
        *(f"target.{name}" for name in ("color", "radius", "position")),
        *(f"rendering.render_{name}" for name in ("target", "zones", "bias_field")),
        *(f"zones.bias_{i}" for i in range(4)),
        *(f"zones.color_{i}" for i in range(4)),
    ]
    assert {f"factor/{name}" for name in ENV.variation_space.names()} == {n for n in golden if n.startswith("factor/")}
    assert Piecewise().default_variation == ("agent.position", "target.position")
    biases = np.stack([space.factor(f"zones.bias_{i}").init_value for i in range(4)])
    np.testing.assert_allclose(biases, [[2, 0], [0, 2], [-2, 0], [0, -2]], atol=1e-6)
    colors = np.stack([space.factor(f"zones.color_{i}").init_value for i in range(4)])
    np.testing.assert_array_equal(colors, [[255, 191, 191], [223, 255, 191], [191, 255, 255], [223, 191, 255]])
    bounds = {
        "agent.radius": (7, 14, 7),
        "agent.position": (14, 209, [60, 112]),
        "agent.speed": (1.75, 10.5, 5),
        "target.radius": (7, 14, 7),
        "target.position": (14, 209, [164, 112]),
        "task.min_steps": (15, 114, 25),
        "rendering.render_zones": (0, 1, 0),
    }
    for name, (low, high, default) in bounds.items():
        factor = space.factor(name)
        np.testing.assert_array_equal(factor.bounds, [np.full(factor.shape, low), np.full(factor.shape, high)])
        np.testing.assert_array_equal(factor.init_value, np.broadcast_to(default, factor.shape))
    np.testing.assert_array_equal(space.factor("zones.bias_0").bounds, [[-4, -4], [4, 4]])
    assert ENV.variation_space.valid(ENV.variation_space.draw(jax.random.key(1), ("all",)))


@pytest.mark.parametrize("grid_n", [1, 2, 5, 13, 14])
def test_zones_are_decided_in_float64(grid_n):
    def column(coordinate):
        return max(0, min(grid_n - 1, int((float(coordinate) - 14.0) / 196.0 * grid_n)))

    edges = 14 + np.arange(grid_n + 1) * 196 / grid_n
    near = np.concatenate([np.nextafter(edges.astype(np.float32), np.float32(side)) for side in (0, 500)])
    near = np.concatenate([near, edges.astype(np.float32), np.float32([0, 224])])
    zones = jax.vmap(lambda position: dynamics.zone(position, grid_n))(jnp.stack([near, near[::-1]], axis=1))
    expected = [column(y) * grid_n + column(x) for x, y in zip(near, near[::-1], strict=True)]
    np.testing.assert_array_equal(zones, expected)


def test_expert_reaches_the_target_repeats_and_wanders():
    state = start((100.0, 100.0), (103.0, 98.0))
    action = expert_action(jax.random.key(0), state)
    np.testing.assert_allclose(ENV.step(state, action).physics, state.goal, atol=1e-5)
    last = jnp.asarray([0.25, -0.5])
    keys = jax.random.split(jax.random.key(1), 500)

    def repeat(key):
        return expert_action(key, state, 0.0, 0.3, last)

    actions = np.asarray(jax.jit(jax.vmap(repeat))(keys))
    repeated = (actions == last[None]).all(1)
    assert 0.23 < repeated.mean() < 0.37
    np.testing.assert_array_equal(actions[~repeated], np.broadcast_to(action, actions[~repeated].shape))
    np.testing.assert_array_equal(expert_action(keys[0], state, 0.0, 1.0), action)
    wild = np.asarray(jax.jit(jax.vmap(ENV.behaviour_action, in_axes=(0, None)))(keys, state))
    assert np.abs(wild).max() == 1.0
    assert wild.std(0).min() > 0.7


def test_gradients_inside_a_zone_match_differences():
    env = Piecewise()
    state = start((50.0, 60.0), (80.0, 90.0), env)

    @jax.jit
    @jax.value_and_grad
    def cost(actions):
        final, _ = jax.lax.scan(lambda state, action: (env.step(state, action), None), state, actions)
        return env.planning_cost(final)

    actions = jax.random.uniform(jax.random.key(1), (6, 2), minval=-0.6, maxval=0.6)
    gradient = cost(actions)[1]
    bumps = 0.02 * jnp.eye(12).reshape(12, 6, 2)
    values = jax.vmap(lambda bump: jnp.stack([cost(actions + bump)[0], cost(actions - bump)[0]]))(bumps)
    np.testing.assert_allclose(gradient.reshape(-1), (values[:, 0] - values[:, 1]) / 0.04, rtol=2e-3, atol=2e-3)
    assert np.abs(gradient).min() > 0.05
    # At walls and across zones the gradient is one-sided, never NaN; nor is it at the target.
    assert np.isfinite(cost(jnp.full((6, 2), -3.0))[1]).all()
    at_goal = start((60.0, 60.0), (60.0, 60.0), env)
    assert np.isfinite(jax.grad(lambda p: env.distance(env.set_state(at_goal, p)))(at_goal.physics)).all()


def test_goals_and_resets():
    state = ENV.set_goal(ENV.set_state(start((60.0, 60.0)), jnp.asarray([150.0, 80.0])), jnp.asarray([150.0, 90.0]))
    assert state.terminated
    np.testing.assert_array_equal(ENV.goal_from(state), (150.0, 80.0))
    np.testing.assert_allclose(ENV.planning_cost(state), (10 / 16) ** 2)
    np.testing.assert_allclose(ENV.distance(state), 10.0)
    assert ENV.planning_cost(ENV.set_goal(state, ENV.goal_from(state))) == 0
    np.testing.assert_array_equal(state.factors["target.position"], (164.0, 112.0))
    keys = jax.random.split(jax.random.key(0), 4)
    batch = jax.jit(jax.vmap(ENV.reset))(keys)
    np.testing.assert_array_equal(ENV.reset(keys[2]).obs["observation"], batch.obs["observation"][2])
    assert len(np.unique(batch.physics)) == 8


def test_bad_input_is_refused():
    for grid_n in (0, 15, 2.0, True):
        with unchecked_types(), pytest.raises(ValueError, match="grid_n must be a whole number from 1 to 14"):
            Piecewise(grid_n=grid_n)
    with unchecked_types(), pytest.raises(ValueError, match="render_target must be true or false, got 1"):
        Piecewise(render_target=1)
    with pytest.raises(ValueError, match=r"zones.bias_0"):
        start((60.0, 60.0), zones_bias_0=[5.0, 0.0])
    with pytest.raises(ValueError, match="unknown factor of variation 'zones.bias_9'"):
        start((60.0, 60.0), zones_bias_9=[1.0, 0.0])
    with pytest.raises(ValueError, match="two names of one option"):
        ENV.reset(jax.random.key(0), options={"goal_state": np.zeros(2), "target_state": np.zeros(2)})
    with pytest.raises(ValueError, match="state must have 2 entries"):
        ENV.reset(jax.random.key(0), options={"state": np.zeros(3)})
    state = start((60.0, 60.0))
    frozen = ENV.step(state, jnp.asarray([jnp.nan, 0.0]))
    assert frozen.info["invalid_action"]
    np.testing.assert_array_equal(frozen.physics, state.physics)
