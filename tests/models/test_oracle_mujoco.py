"""The oracle on MuJoCo's physics: its costs are those of stepping the environment, and planning with them pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_mjx
from swmjax.models import OracleModel, oracle
from swmjax.planning import CEMSolver

IDS = [name for name in envs_mjx.registered_ids() if name.endswith("DMControl-v0")]


def tilt(state):
    """1 - cos of the pole's angle from upright."""
    return 1 - state.obs["observation"][1]


@pytest.fixture(scope="module", params=[{"impl": "c"}, {"impl": "jax", "fidelity": "fast"}], ids=["c", "jax"])
def cartpole(request):
    """The environment, a state with the pole nearly upright, and the costs of 16 candidates of 6 steps from it."""
    env = envs_mjx.make("swm/CartpoleDMControl-v0", **request.param)
    state = jax.jit(env.reset)(jax.random.key(0), options={"state": jnp.asarray([0.0, 0.3, 0.0, 0.0])})
    costs = jax.jit(lambda actions: OracleModel(env).cost_fn(state, lambda final: 3 * tilt(final), tilt)(actions))
    candidates = jax.random.uniform(jax.random.key(1), (16, 6, 1), minval=-1.0, maxval=1.0)
    return env, state, costs, candidates


def test_costs_are_those_of_stepping_by_hand(cartpole):
    env, state, costs, candidates = cartpole
    step = jax.jit(env.step)
    expected = []
    for sequence in candidates[:3]:
        after, passed = state, 0.0
        for action in sequence:
            after = step(after, action)
            passed += tilt(after)
        expected.append(passed + 3 * tilt(after))
    assert len({round(float(cost), 5) for cost in expected}) == 3
    np.testing.assert_allclose(costs(candidates)[:3], expected, rtol=1e-5)


def test_planning_beats_random_actions(cartpole):
    env, _, costs, candidates = cartpole
    solver = CEMSolver(16, 5, 3, 0.5, clip="bounds")
    search = solver.init(jax.random.key(2), env.action_space, 6)
    # Step by step, with the one program of this file.
    for _ in range(solver.n_steps):
        population = solver.propose(search)
        search, _ = solver.update(search, population, costs(population))
    planned = costs(jnp.broadcast_to(search.mean, (16, 6, 1)))[0]
    assert planned < costs(candidates).min()


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["c", "jax"])
@pytest.mark.parametrize("name", IDS)
def test_every_domain_can_be_planned_through(name, impl):
    env = envs_mjx.make(name, impl=impl)
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


@pytest.mark.parametrize("cartpole", [{"impl": "c"}], indirect=True)
def test_candidates_that_would_take_too_much_memory_take_turns(cartpole, monkeypatch):
    env, state, _, candidates = cartpole
    cost = OracleModel(env).cost_fn(state, lambda final: 3 * tilt(final), tilt)
    expected = cost(candidates)
    assert env.rollout_bytes > 4 * env.action_repeat * (2 * 6 + 6)
    # Room for three candidates of six steps: five turns of three, and one of one.
    monkeypatch.setattr(oracle, "_AT_ONCE", 20 * env.rollout_bytes)
    np.testing.assert_allclose(cost(candidates), expected, rtol=1e-6)
    turns = str(jax.make_jaxpr(cost)(candidates))
    assert "3,6,2" in turns
    assert "16,6,2" not in turns
