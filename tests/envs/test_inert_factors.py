"""Factors that are marked as doing nothing change nothing, and the others change something."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_mjx
from envs_mjx import spaces

STEPS = 4
# What must be on for other factors to be seen.
BASES = {
    "swm/TwoRoom-v1": {"rendering.render_target": 1, "door.number": 3},
    "swm/Piecewise-v0": {"rendering.render_target": 1, "rendering.render_zones": 1, "rendering.render_bias_field": 1},
    "swm/VoidRun-v0": {"board.prob_gravel": 0.5},
    "swm/SimplePointMaze-v0": {},
    # The angle is that of an agent that is not round.
    "swm/PushT-v1": {"agent.shape": 1},
}


def other_value(space, value):
    """A value of a factor that is far from another one."""
    low, high = space.bounds
    if isinstance(space, spaces.Discrete):
        return np.asarray(low if value > low else high)
    part = np.where(np.asarray(value) - low > high - value, 0.1, 0.9)
    return (low + part * (high - low)).astype(space.dtype)


def same(tree, row):
    """Whether a row is the first row, in everything."""
    return all(np.array_equal(leaf[row], leaf[0], equal_nan=True) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("id", [pytest.param(id, marks=[pytest.mark.slow] * ("PushT" in id)) for id in BASES])
def test_marked_factors_do_nothing_and_the_others_something(id):
    env = envs_mjx.make(id)
    names = env.variation_space.names()
    base = {name: np.asarray(BASES[id].get(name, env.variation_space.factor(name).init_value)) for name in names}
    rows = [base, *(base | {name: other_value(env.variation_space.factor(name), base[name])} for name in names)]
    values = {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in names}
    action = jnp.asarray(1) if envs_mjx.spec(id).discrete else jnp.asarray([0.5, 0.125], jnp.float32)

    @jax.jit
    @jax.vmap
    def play(values):
        start = env.reset(jax.random.key(0), variation=(), values=values)
        last, kept = env.rollout(start, jnp.stack([action] * STEPS), lambda state: (state.obs, state.reward))
        return start.physics, start.goal, last.physics, last.goal, kept, env.render(last)

    seen = play(values)
    inert = [name for row, name in enumerate(names, start=1) if same(seen, row)]
    assert inert == list(env.inert_factors)
