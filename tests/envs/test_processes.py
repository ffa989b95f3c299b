"""Environments in other processes: pickled, and used after a fork."""

import importlib.util
import pickle
import subprocess
import sys
import textwrap

import gymnasium
import jax
import numpy as np
import pytest

import envs_mjx

MODULES = {"playground": "mujoco_playground", "mujoco": "mujoco", "brax": "brax", "craftax": "craftax", None: "jax"}
IDS = [
    id
    for id in envs_mjx.registered_ids()
    if id.startswith("swm/") or id in ("brax/InvertedPendulum-v1", "playground/PendulumSwingup-v0")
]
# Their models take long to compile.
HEAVY = [id for id in IDS if envs_mjx.spec(id).extra is not None and id != "swm/PendulumDMControl-v0"]
# Constraints of their factors look at the values of other factors.
CONSTRAINED = ("swm/TwoRoom-v1", "swm/VoidRun-v0", "swm/SimplePointMaze-v0")


def made(id, make):
    if importlib.util.find_spec(MODULES[envs_mjx.spec(id).extra]) is None:
        pytest.skip("its library is not installed")
    return make(id)


@pytest.mark.parametrize("id", IDS)
def test_every_environment_is_pickled(id):
    env = made(id, envs_mjx.make)
    assert env.variation_space is not None
    again = pickle.loads(pickle.dumps(env))
    assert (again, hash(again)) == (env, hash(env))
    assert again.variation_space == env.variation_space


@pytest.mark.parametrize("id", [pytest.param(id, marks=[pytest.mark.slow] * (id in HEAVY)) for id in IDS])
def test_every_gymnasium_face_is_pickled(id):
    for make in (gymnasium.make, gymnasium.make_vec):
        face = made(id, make).unwrapped
        copy = pickle.loads(pickle.dumps(face))
        assert (copy.env, copy.action_space) == (face.env, face.action_space)


@pytest.mark.parametrize("id", CONSTRAINED)
def test_pickled_constraints_look_at_their_own_factors(id):
    space = envs_mjx.make(id).variation_space
    name, other, value, bad = {
        "swm/TwoRoom-v1": ("agent.position", "wall.axis", 0, [60.0, 112.0]),
        "swm/VoidRun-v0": ("agent.position", "board.size", 12, [13, 3]),
        "swm/SimplePointMaze-v0": ("agent.position", "agent.radius", 0.5, None),
    }[id]
    if bad is None:
        # As near to a wall as only the small disc may be.
        corner = space.factor("walls.positions").init_value[0]
        bad = np.asarray([corner[0] - 0.3, corner[1]], np.float32)
    copy = pickle.loads(pickle.dumps(space))
    bad = np.asarray(bad, space.factor(name).dtype)
    assert copy.factor(name).contains(bad)
    copy.set_value({other: value})
    assert not copy.factor(name).contains(bad)
    assert space.factor(name).contains(bad)


def test_an_episode_goes_on_after_pickling():
    env = gymnasium.make("swm/TwoRoom-v1").unwrapped
    env.reset(seed=3)
    copy = pickle.loads(pickle.dumps(env))
    action = np.asarray([0.5, -0.25], np.float32)
    np.testing.assert_array_equal(copy.step(action)[0]["observation"], env.step(action)[0]["observation"])
    np.testing.assert_array_equal(jax.random.key_data(copy.state.key), jax.random.key_data(env.state.key))


def run(code):
    """What a program prints, which must not hang."""
    code = "import sys, warnings; warnings.simplefilter('ignore')\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_after_jax_was_used_is_refused():
    printed = run(
        """
        import gymnasium, jax, os, envs_mjx
        from envs_mjx.checks import UserError
        env = envs_mjx.make("swm/TwoRoom-v1")
        key = jax.random.key(0)
        vector = gymnasium.make_vec(
            "swm/TwoRoom-v1", num_envs=2, vectorization_mode="async", vector_kwargs={"context": "fork"}
        )
        try:
            vector.reset(seed=0)
        except UserError as error:
            print(error)
        if os.fork() == 0:
            for call in (lambda: env.reset(key), lambda: envs_mjx.make("swm/PendulumDMControl-v0").compiled):
                try:
                    call()
                except UserError as error:
                    print("refused", flush=True)
                except ImportError:
                    print("refused", flush=True)
            os._exit(0)
        os.wait()
        """
    )
    first, *others = printed.splitlines()
    assert "forked after JAX had been used" in first
    assert "spawn" in first
    assert "gymnasium.make_vec" in first
    assert others == ["refused"] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_before_jax_is_used_is_not():
    printed = run(
        """
        import os, envs_mjx
        from envs_mjx.processes import check_process
        if os.fork() == 0:
            check_process()
            print("fine", flush=True)
            os._exit(0)
        os.wait()
        """
    )
    assert printed == "fine\n"
