"""The oracle on MJX physics: its costs are those of stepping the environment, and planning with them pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_mjx
from swmjax.models import OracleModel
from swmjax.planning import CEMSolver, solve

IDS = [name for name in envs_mjx.registered_ids() if name.endswith("DMControl-v0")]


def tilt(state):
    """1 - cos of the pole's angle from upright."""
    return 1 - state.obs["observation"][1]


@pytest.fixture(scope="module")
def cartpole():
    env = envs_mjx.make("swm/CartpoleDMControl-v0", fidelity="fast")
    return env, jax.jit(env.reset)(jax.random.key(0))


def test_costs_are_those_of_stepping_by_hand(cartpole):
    env, state = cartpole
    actions = jax.random.uniform(jax.random.key(1), (3, 2, 2), minval=-1.0, maxval=1.0)
    costs = jax.jit(lambda actions: OracleModel(env).cost_fn(state, lambda final: 3 * tilt(final), tilt)(actions))
    step = jax.jit(env.step)
    expected = []
    for sequence in actions.reshape(3, 4, 1):
        after, passed = state, 0.0
        for action in sequence:
            after = step(after, action)
            passed += tilt(after)
        expected.append(passed + 3 * tilt(after))
    assert len({round(float(cost), 5) for cost in expected}) == 3
    np.testing.assert_allclose(costs(actions), expected, rtol=1e-5)


def test_planning_beats_random_actions(cartpole):
    env, state = cartpole
    start = env.set_state(state, jnp.asarray([0.0, 0.3, 0.0, 0.0]))

    @jax.jit
    def compare(key):
        cost = OracleModel(env).cost_fn(start, None, tilt)
        plan = solve(CEMSolver(32, 4, 4, 0.5, clip="bounds"), cost, env.action_space, key, 10)
        random = jax.random.uniform(key, (32, 10, 1), minval=-1.0, maxval=1.0)
        return cost(plan.actions[None])[0], cost(random)

    planned, random = compare(jax.random.key(2))
    assert planned < random.min()


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_every_domain_can_be_planned_through(name):
    env = envs_mjx.make(name)
    state = jax.jit(env.reset)(jax.random.key(0))
    actions = jax.random.uniform(jax.random.key(1), (2, 2, env.action_space.shape[0]), minval=-1.0, maxval=1.0)
    oracle = OracleModel(env)
    final = jax.jit(oracle.rollout)(state, actions)
    costs = jax.vmap(env.planning_cost)(final)
    assert np.isfinite(costs).all()
    step = jax.jit(env.step)
    for row in range(2):
        after = state
        for action in actions[row]:
            after = step(after, action)
        np.testing.assert_allclose(final.physics.qpos[row], after.physics.qpos, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(costs[row], env.planning_cost(after), rtol=1e-4, atol=1e-4)


def test_all_twelve_domains_are_here():
    assert len(IDS) == 12
