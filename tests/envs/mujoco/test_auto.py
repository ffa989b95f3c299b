"""`impl="auto"`, the default: what it takes and why, and what it does not take away."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.mujoco import recorded
from envs.mujoco.arm import ARM, tip

from envs_mjx import programs
from envs_mjx.mujoco import MassFactor, MjcfEnv
from envs_mjx.mujoco.physics import UNKNOWN
from envs_mjx.wrappers import TimeLimit

# Its rod is stopped, so that MJX's solver has something to do.
STOPPED = ARM.replace('damping=".1"', 'damping=".1" limited="true" range="-20 20"')
BLAST = STOPPED.replace("</actuator>", '<motor joint="hinge" gear="1e6" ctrlrange="-1e9 1e9"/> </actuator>')


def arm(**arguments):
    return MjcfEnv(**({"mjcf": ARM, "reward": tip, "substeps": 2, "action_repeat": 2} | arguments))


def test_what_auto_takes_and_why(monkeypatch):
    env = recorded.make("cartpole")
    assert env.impl == arm().impl == "auto"
    assert (env.taken.name, env.taken.why) == ("c", "the device is a CPU; derivatives and exported programs are MJX's")
    assert TimeLimit(env, 5).remarks == (f"impl=auto took c: {env.taken.why}",)
    given = recorded.make("cartpole", impl="jax")
    assert (given.taken.why, given.remarks) == ("as asked for", ())
    for domain in ("pendulum", "acrobot"):
        assert recorded.make(domain).taken.name == "jax"
    with jax.enable_x64(True):
        assert (env.taken.name, env.taken.why) == ("jax", "JAX has double precision")
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert (env.taken.name, env.taken.why) == ("jax", "the program may run on 2 devices")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert (env.taken.name, env.taken.why) == ("jax", "the device is a GPU")


def test_without_batches_it_takes_mjx(monkeypatch):
    monkeypatch.setattr("mujoco.__version__", "3.9.1")
    taken = recorded.make("cartpole").taken
    assert taken.name == "jax"
    assert "needs mujoco 3.17 or later, this is 3.9.1" in taken.why


def beside_forces(view):
    """MJX has an array of the solver's forces, which says nothing before a step."""
    return tip(view) + 0.0 * view.data._impl.efc_force.sum()


def test_what_only_mjx_can_show_is_moved_by_mjx():
    env = arm(reward=beside_forces, mjcf=STOPPED)
    assert env.taken.name == "jax"
    assert "cannot look at data.efc_force" in env.remarks[0]
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(1))
    assert state.reward == pytest.approx(2 * 0.5, rel=1e-4)
    # What is wrong with a task MJX says as well.
    with pytest.raises(KeyError, match="top"):
        env = arm(reward=lambda view: view.site("top")[2])
        env.step(env.reset(jax.random.key(0)), jnp.zeros(1))


def end_of(env, start, actions):
    """A number that all steps have a share in."""
    kept = env.rollout(start, actions)[1]
    return kept.reward.sum() + jnp.sin(kept.obs["observation"][-1]).sum()


def slopes_of_differences(env, start, actions, step=0.01):
    """Of `end_of` with respect to the first of the two actions, from rollouts in C."""
    away = jnp.zeros((len(actions), *actions.shape)).at[jnp.arange(len(actions)), jnp.arange(len(actions)), 0].set(step)
    ends = jax.vmap(lambda actions: end_of(env, start, actions))
    return (ends(actions[None] + away) - ends(actions[None] - away)) / (2 * step)


@pytest.fixture(scope="module")
def blasted():
    """An environment, two starts, and the program of value and derivative, which holds MJX."""
    env = arm(mjcf=BLAST)
    assert env.taken.name == "c"
    starts = [env.reset(jax.random.key(0), options={"state": jnp.asarray(state)}) for state in ([0.3, 2.0], [0.5, 0.2])]
    return env, starts, jax.jit(jax.value_and_grad(lambda start, actions: end_of(env, start, actions), argnums=1))


def test_it_has_the_gradients_of_mjx(blasted):
    """As differences of rollouts in C have them; the rod is running into its stop."""
    env, (start, _), derive = blasted
    actions = jnp.asarray([[0.3, 0], [-0.5, 0], [0.1, 0], [0.0, 0], [-0.2, 0]])
    kept = env.rollout(start, actions)[1]
    assert kept.info["qpos"].max() > np.deg2rad(20)
    value, slopes = derive(start, actions)
    assert value == end_of(env, start, actions)
    np.testing.assert_allclose(slopes[:, 0], slopes_of_differences(env, start, actions), rtol=3e-2)
    assert np.abs(slopes[:, 0]).min() > 1e-5


def test_derivatives_pass_over_the_steps_that_values_pass_over(blasted):
    """One step has no finite action, one diverges: neither moves anything, and the others go on."""
    env, (_, start), derive = blasted
    actions = jnp.asarray([[0.5, 0], [jnp.nan, 0], [0, 1], [-0.3, 0], [0.2, 0]])
    kept = env.rollout(start, actions)[1]
    assert kept.info["invalid_action"].tolist() == [False, True, False, False, False]
    assert kept.info["diverged"].tolist() == [False, False, True, False, False]
    slopes = np.asarray(derive(start, actions)[1])
    going = np.asarray([0, 3, 4])
    expected = slopes_of_differences(env, start, actions)[going]
    np.testing.assert_allclose(slopes[going, 0], expected, rtol=1e-2, atol=1e-5)
    assert (np.abs(slopes[going]) > 1e-5).all()
    assert (slopes[1:3] == 0).all()


@pytest.mark.slow
def test_gradients_know_of_masses_that_are_not_nominal():
    env = arm(masses=(MassFactor("rod.density", ("rod",)),), mjcf=BLAST)
    start = env.reset(jax.random.key(0), values={"rod.density": jnp.asarray([1400.0])})
    actions = jnp.asarray([[0.3, 0], [-0.5, 0]])
    slopes = jax.jit(jax.grad(lambda actions: end_of(env, start, actions)))(actions)
    np.testing.assert_allclose(slopes[:, 0], slopes_of_differences(env, start, actions), rtol=2e-2)
    light = env.reset(jax.random.key(0), values={"rod.density": jnp.asarray([700.0])})
    assert np.abs(slopes_of_differences(env, light, actions) / slopes[:, 0] - 1).min() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["cartpole", "hopper"])
def test_derivatives_of_the_solver_are_right_forwards_and_backwards(domain):
    """In MJX in double precision, against differences: limits of joints, and contacts with friction."""
    with jax.enable_x64(True):
        env = recorded.make(domain, impl="jax")
        golden = recorded.golden(domain)
        state = jnp.concatenate([jnp.asarray(golden[name][1]) for name in ("qpos", "qvel")])
        start = env.reset(jax.random.key(0), options={"state": state})

        def end(action):
            after = env._walk(start.physics, start.goal, action, env._reward, env._observe)
            return jnp.sin(after[0].qvel).sum() + after[0].qpos.sum()

        action, way = jnp.full(env.action_space.shape, 0.1), jnp.ones(env.action_space.shape)
        backwards = jax.jit(jax.grad(end))(action) @ way
        forwards = jax.jit(lambda action: jax.jvp(end, (action,), (way,))[1])(action)
        run = jax.jit(end)
        differences = (run(action + 1e-5 * way) - run(action - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose(backwards, forwards, rtol=1e-9)
    np.testing.assert_allclose(backwards, differences, rtol=1e-4)
    assert abs(backwards) > 1e-3


def test_a_program_that_is_exported_holds_mjx():
    """One batch of steps and what a reset asks of the physics, for this machine's platform and for another."""
    env = arm()
    states = programs.reset_batch(env, jax.random.split(jax.random.key(0), 3), (), {}, {"state": jnp.asarray([0.5, 1])})
    actions = jnp.asarray([[-1.0], [0.0], [0.5]])
    exported = jax.export.export(programs.step_batch, platforms=("cpu", "cuda"))(env, states, actions)
    after, expected = exported.call(states, actions), programs.step_batch(env, states, actions)
    np.testing.assert_allclose(after.info["state"], expected.info["state"], rtol=1e-5)
    np.testing.assert_allclose(after.reward, expected.reward, rtol=1e-5)
    assert (np.asarray(after.physics.exact) == UNKNOWN).all()
    # The C library goes on from there.
    onward, further = (programs.step_batch(env, states, actions) for states in (after, expected))
    np.testing.assert_allclose(onward.info["state"], further.info["state"], rtol=1e-4)
    assert not (onward.info["state"] == after.info["state"]).any()


MESH = """
import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from envs.mujoco.test_auto import arm
env = arm()
print(env.remarks[0])
rows = NamedSharding(jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,)), PartitionSpec("rows"))
keys = jax.device_put(jax.random.split(jax.random.key(0), 8), rows)
states = jax.jit(jax.vmap(env.reset))(keys)
print(len(states.reward.sharding.device_set), states.obs["observation"].shape)
"""


def test_a_batch_on_a_mesh_is_moved_by_mjx():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", MESH],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["impl=auto took jax: the program may run on 8 devices", "8 (8, 2)"]
