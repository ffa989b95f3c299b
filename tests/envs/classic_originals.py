"""Gymnasium's classic-control environments with the factors of ours, to compare with."""

import functools

import gymnasium
import jax
import numpy as np
import pytest

from envs_mjx.classic import (
    AcrobotControl,
    CartPoleControl,
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
LANES = 3


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


@functools.cache
def draws(env):
    """Values of all factors for a few lanes; the first lane has the initial ones."""
    keys = jax.random.split(jax.random.key(4), LANES)
    drawn = jax.vmap(lambda key: env.variation_space.draw(key, ("all",)))(keys)
    initial = env.variation_space.draw(keys[0])
    return {name: np.asarray(values.at[0].set(initial[name])) for name, values in drawn.items()}
