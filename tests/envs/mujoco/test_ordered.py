"""Factorisations of MJX that wait for each other, since on a CPU two at a time may never end."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mujoco import MjModel, mjx
from mujoco.mjx._src import forward

from envs_mjx.mujoco.ordered import ordered_factors

pytestmark = pytest.mark.optimised

DAMPED = """
<mujoco>
  <option integrator="{integrator}"/>
  <worldbody>
    <body>
      <joint name="hinge" axis="0 1 0" damping="0.1"/><geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.3"/>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.mark.parametrize("integrator", ["Euler", "implicitfast"])
def test_the_second_one_waits_for_the_acceleration_and_changes_nothing(integrator):
    with jax.numpy_rank_promotion("allow"):
        model = mjx.put_model(MjModel.from_xml_string(DAMPED.format(integrator=integrator)))
        data = mjx.make_data(model).replace(qpos=jnp.array([0.3]))
        usual = mjx.step(model, data)
        with ordered_factors():
            ordered = mjx.step(model, data)
            integrate = {"Euler": forward.euler, "implicitfast": forward.implicit}[integrator]
            spoilt = integrate(model, usual.replace(qacc=jnp.array([jnp.nan])))
        before = {"Euler": forward.euler, "implicitfast": forward.implicit}[integrator]
        unspoilt = before(model, usual.replace(qacc=jnp.array([jnp.nan])))
    np.testing.assert_array_equal(ordered.qvel, usual.qvel)
    assert usual.qvel[0] != 0
    assert np.isnan(spoilt.qvel).all()
    assert np.isfinite(unspoilt.qvel).all()


@pytest.mark.slow
def test_a_large_batch_comes_to_an_end():
    """Without the order, two cores stopped within a few steps; a hanging program can only be stopped from outside."""
    code = """
import jax, envs_mjx
env = envs_mjx.make("swm/CheetahDMControl-v0", impl="jax")
states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 64))
states = jax.tree.map(lambda leaf: leaf[jax.numpy.arange(1024) % 64], states)
actions = jax.random.uniform(jax.random.key(1), (30, 1024, 6), minval=-1, maxval=1)
step = jax.vmap(env.step)
states, _ = jax.jit(lambda s, a: jax.lax.scan(lambda s, a: (step(s, a), None), s, a))(states, actions)
print(int(states.step.sum()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=400)
    assert done.stdout.strip() == str(30 * 1024)
