"""The expert of Piecewise: the action that lands on the target, as far as it can reach.

Source: reference: envs/piecewise/expert_policy.py (`ExpertPolicy`).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx.piecewise.dynamics import zone
from envs_mjx.piecewise.factors import of_zones
from envs_mjx.state import State

BEHAVIOUR_NOISE = 2.0
"""Standard deviation of the behaviour policy's noise: that of TwoRoom's, since no dataset of Piecewise is known."""


def expert_action(
    key: Key[Array, ""],
    state: State,
    action_noise: float = 0.0,
    action_repeat_prob: float = 0.0,
    last_action: Float[Array, "2"] | None = None,
) -> Float[Array, "2"]:
    """The inverse of a step: the way to the target less the zone's bias, over the speed, clipped.

    Args:
        key: typed key; noise and repetition use it.
        state: state of a Piecewise environment.
        action_noise: standard deviation of normal noise on the action, at least 0.
        action_repeat_prob: probability of returning `last_action` instead.
        last_action: what this function returned last; None at the start of an episode, when nothing is repeated.

    Returns:
        Action in [-1, 1].
    """
    agent, target, factors = state.physics, state.goal, state.factors
    grid_n = math.isqrt(sum(name.startswith("zones.bias_") for name in factors))
    bias = of_zones(factors, "bias", grid_n)[zone(agent, grid_n)]
    action = (target - agent - bias) / factors["agent.speed"]
    noise_key, repeat_key = jax.random.split(key)
    if action_noise > 0:
        action += action_noise * jax.random.normal(noise_key, (2,), action.dtype)
    if action_repeat_prob > 0 and last_action is not None:
        repeated = jax.random.uniform(repeat_key) < action_repeat_prob
        action = jnp.where(repeated, last_action, action)
    return jnp.clip(action, -1.0, 1.0)


def behaviour_action(key: Key[Array, ""], state: State) -> Float[Array, "2"]:
    """The expert with noise as strong as that of TwoRoom's datasets: it wanders widely, with a drift to the target."""
    return expert_action(key, state, BEHAVIOUR_NOISE)
