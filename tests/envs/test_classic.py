"""Classic control: dynamics against Gymnasium's own step by step, factors, resets, goals, gradients."""

import functools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_mjx
from envs_mjx.classic import (
    AcrobotControl,
    CartPoleControl,
    ControlPhysics,
    MountainCarContinuousControl,
    MountainCarControl,
    PendulumControl,
)

GYMNASIUM = {
    CartPoleControl(): "CartPole-v1",
    MountainCarControl(): "MountainCar-v0",
    MountainCarContinuousControl(): "MountainCarContinuous-v0",
    AcrobotControl(): "Acrobot-v1",
    PendulumControl(): "Pendulum-v1",
}
each = pytest.mark.parametrize("env", GYMNASIUM, ids=lambda env: type(env).__name__)
LANES, FREE = 3, 25


def original(env, factors=None, **kwargs):
    """Gymnasium's environment with these physical factors."""
    found = gymnasium.make(GYMNASIUM[env], disable_env_checker=True, **kwargs)
    inner = found.unwrapped
    for name, *_ in env.physical if factors is not None else ():
        value = float(np.asarray(factors[f"physics.{name}"])[0])
        setattr(inner, name.upper() if isinstance(env, AcrobotControl) else name, value)
    if isinstance(env, CartPoleControl):
        inner.total_mass = inner.masspole + inner.masscart
        inner.polemass_length = inner.masspole * inner.length
    return found


def recorded(env, factors, seed, steps):
    """States before each step, actions, and what Gymnasium returned for them."""
    inner = original(env, factors)
    rng = np.random.default_rng(seed)
    inner.reset(seed=seed)
    rows = []
    for step in range(steps):
        if isinstance(env.action_space, gymnasium.spaces.Discrete):
            # Runs of equal actions, so that velocities and limits are met.
            action = rng.integers(env.action_space.n) if step % 4 == 0 else action
        else:
            action = (1.3 * env.action_space.high * np.sin(step / 7 + seed + rng.normal(size=1))).astype(np.float32)
        before = np.array(inner.unwrapped.state, np.float64)
        observation, reward, terminated, truncated, _ = inner.step(action)
        after = np.array(inner.unwrapped.state, np.float64)
        rows.append((before, action, after, observation, reward, terminated, truncated))
    return [np.stack(column) for column in zip(*rows, strict=True)]


@functools.cache
def draws(env):
    """Values of all factors for a few lanes; the first lane has the initial ones."""
    keys = jax.random.split(jax.random.key(4), LANES)
    drawn = jax.vmap(lambda key: env.variation_space.draw(key, ("all",)))(keys)
    initial = env.variation_space.draw(keys[0])
    return {name: np.asarray(values.at[0].set(initial[name])) for name, values in drawn.items()}


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
        assert truncated[:, -3:].all() and not truncated[:, :-3].any()
