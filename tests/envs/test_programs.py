"""Environments are compiled once, whoever runs them."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_env import PointEnv

import envs_mjx
from envs_mjx import programs


@pytest.fixture
def compilations(caplog):
    """Names of what is compiled, or traced anew, while a function runs."""

    def names(function):
        caplog.clear()
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            function()
        return [record.getMessage() for record in caplog.records if "ompil" in record.getMessage()]

    return names


@pytest.mark.parametrize("id", ["swm/TwoRoom-v1", "swm/CartPoleControl-v1", "swm/VoidRun-v0"])
def test_nothing_is_compiled_the_second_time(id, compilations):
    def played(seed, value):
        # Made anew, as in another cell of a notebook.
        env = envs_mjx.make(id)
        name = env.variation_space.names()[0]
        state = env.reset(jax.random.key(seed))
        state = env.reset(jax.random.key(seed), values={name: env.variation_space.factor(name).init_value})
        action = env.action_space.sample()
        state = env.step(state, action)
        env.render(state)
        state = env.set_state(state, state.info["state"] + value)
        states = jax.vmap(env.reset)(jax.random.split(jax.random.key(seed), 2))
        jax.vmap(env.step)(states, np.stack([action, action]))
        return env.rollout(state, np.stack([action] * 3))

    assert compilations(lambda: played(0, 0))
    assert compilations(lambda: played(1, 1)) == []


def test_values_and_options_are_traced_and_names_are_not():
    env = PointEnv(gain=0.7)
    sizes = []
    for arguments in (
        {"values": {"start.x": [0.25]}},
        {"values": {"start.x": [0.5]}, "options": {"goal": None}},
        {"variation": ("shade",), "values": {"start.x": [0.25]}},
        {"options": {"goal": jnp.ones(1)}},
        {"options": {"goal": jnp.zeros(1)}},
    ):
        state = env.reset(jax.random.key(0), **arguments)
        sizes.append(programs.reset._cache_size())
        np.testing.assert_allclose(state.physics, arguments.get("values", {}).get("start.x", state.physics))
    assert np.diff(sizes).tolist() == [0, 1, 1, 0]


def test_programs_dissolve_into_a_traced_function():
    env = PointEnv()
    state = env.reset(jax.random.key(0))

    def loss(action):
        return env.planning_cost(env.step(env.set_state(state, jnp.ones(1)), action))

    jaxpr = jax.make_jaxpr(jax.vmap(jax.grad(loss)))(jnp.zeros((2, 1)))
    called = {equation.params.get("name") for equation in jaxpr.eqns if equation.primitive.name in ("jit", "pjit")}
    assert called == {"_where"}
    np.testing.assert_allclose(jax.vmap(jax.grad(loss))(jnp.asarray([[0.0], [1.0]]))[:, 0], [2.0, 4.0])


def test_batches_are_their_rows():
    env = PointEnv()
    keys = jax.random.split(jax.random.key(1), 3)
    states = programs.reset_batch(env, keys, ("start.x",), {"shade": jnp.asarray(0.5)})
    after = programs.step_batch(env, states, jnp.ones((3, 1)))
    assert programs.render_batch(env, after).shape == (3, 4, 6, 3)
    for index in range(3):
        one = env.step(env.reset(keys[index], variation=("start.x",), values={"shade": 0.5}), jnp.ones(1))
        np.testing.assert_array_equal(after.physics[index], one.physics)
        np.testing.assert_array_equal(after.factors["shade"][index], 0.5)


def test_what_contradicts_itself_is_refused_with_numbers_and_not_while_tracing():
    env = envs_mjx.make("swm/TwoRoom-v1")
    values = {"agent.position": np.asarray([112.0, 50.0], np.float32)}
    with pytest.raises(ValueError, match="agent.position .112.0, 50.0. touches the wall between the rooms"):
        env.reset(jax.random.key(0), values=values)
    jax.eval_shape(lambda position: env.reset(jax.random.key(0), values={"agent.position": position}), jnp.ones(2))
