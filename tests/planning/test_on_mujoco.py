"""What solvers promise, on MuJoCo's physics as `impl="auto"` takes it: in C on a CPU, with the gradients of MJX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.mujoco.arm import ARM, tip
from planning.cases import HORIZON, case

from envs_mjx.mujoco import MjcfEnv
from swmjax.models import OracleModel
from swmjax.planning import SOLVERS, Status, solve
from swmjax.planning.descent import DescentSolver
from swmjax.planning.host import HostSolver

ENV = MjcfEnv(mjcf=ARM, reward=tip, substeps=2, action_repeat=4)
OPTIONAL = {"evosax": "evosax"}
# Derivatives are MJX's, which takes long to compile.
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if issubclass(kind, DescentSolver) else [])
    for name, kind in SOLVERS.items()
    if kind.actions == "box" and "transitions" not in kind.takes and not issubclass(kind, HostSolver)
]


def cost_of(state):
    """The height of the tip that a candidate misses."""

    def missed(after):
        return jnp.where(after.info["diverged"], jnp.nan, -after.reward)

    return OracleModel(ENV).cost_fn(state, None, missed)


@pytest.fixture(scope="module")
def states():
    """Three starts, of which the last one is broken."""
    assert ENV.taken.name == "c"
    starts = [ENV.reset(jax.random.key(0), options={"state": jnp.asarray([angle, 0.0])}) for angle in (0.3, -0.5, 0.1)]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    return states.replace(physics=states.physics.replace(qvel=states.physics.qvel.at[2].set(jnp.nan)))


@pytest.mark.parametrize("name", NAMES)
def test_plans_are_good_and_do_not_depend_on_their_batch(name, states):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    solver, traces = case(name).solver, []

    def plan(state, key):
        traces.append(name)
        return solve(solver, cost_of(state), ENV.action_space, key, HORIZON)

    keys = jax.random.split(jax.random.key(1), 3)
    batch, alone = jax.jit(jax.vmap(plan)), jax.jit(plan)
    plans = batch(states, keys)
    assert plans.status.tolist() == [Status.OK, Status.OK, Status.NO_FINITE_COST]
    first, second = (jax.tree.map(lambda leaf, row=row: leaf[row], (states, keys)) for row in (0, 1))
    one = alone(*first)
    np.testing.assert_allclose(one.actions, plans.actions[0], atol=1e-5)
    np.testing.assert_allclose(alone(*second).actions, plans.actions[1], atol=1e-5)
    batch(states, keys[::-1])
    assert len(traces) == 2
    costs = jax.jit(functools.partial(cost_of(first[0])))
    planned, nothing = costs(jnp.stack([one.actions, jnp.zeros_like(one.actions)]))
    assert planned < nothing
    np.testing.assert_allclose(one.cost, planned, rtol=1e-5)
