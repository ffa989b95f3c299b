"""The installed dm_control beside MJX: single steps from fresh states, and the statistics of episodes."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from envs.mujoco import recorded
from reference import reference_python

live = pytest.importorskip(
    "envs.mujoco.live", reason="needs dm_control: pip install 'swmjax[mujoco]'", exc_type=ImportError
)

pytestmark = [
    pytest.mark.slow,
    # dm_control asks for a total mass in the old way.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

# Episodes and steps, fewer where a step takes long.
EPISODES = {"humanoid": (24, 50), "quadruped": (24, 50), "manipulator": (24, 50)}
REPAIRED = ("pendulum", "cartpole", "acrobot", "reacher", "ball_in_cup", "cheetah", "walker", "manipulator")


# In double precision, where both sides' solvers stop at another iterate of a pile of contacts.
DOUBLE = {"humanoid": 1e-5}


def worst(differences, but=()):
    return max(value for step in differences.values() for name, value in step.items() if name not in but)


@pytest.mark.parametrize("domain", recorded.NAMES)
def test_one_step(domain):
    """In double and in single precision, from starts of episodes and from random walks, nominal and varied."""
    env = recorded.make(domain, impl="jax")
    rows = live.rows_of(env, seed=11, count=12)
    with jax.enable_x64(True):
        apart = live.differences(env, rows)
    assert worst(apart) < DOUBLE.get(domain, 1e-8), apart
    apart = live.differences(env, rows)
    # Toe forces are observed as arcsinh(force): those of a touch that just begins are all rounding in single precision.
    forces = ("obs",) if domain == "quadruped" else ()
    assert worst(apart, but=forces) < 1e-3, apart


def test_one_step_of_the_task_with_a_hinge_of_its_own():
    env = recorded.make("finger", task="spin", impl="jax")
    with jax.enable_x64(True):
        apart = live.differences(env, live.rows_of(env, seed=12, count=12))
    assert worst(apart) < 1e-8, apart


@pytest.mark.parametrize("domain", REPAIRED)
def test_one_step_with_repaired_factors(domain):
    """Locks, shapes, lengths and floors, as MuJoCo's compiler has them in a changed MJCF."""
    env = recorded.make(domain, fixed=True, impl="jax")
    with jax.enable_x64(True):
        apart = live.differences(env, live.rows_of(env, seed=13, count=12))
    assert worst(apart) < 1e-8, apart


@pytest.mark.parametrize("domain", recorded.NAMES)
def test_episodes_are_alike(domain):
    """Kolmogorov-Smirnov on the return and on what moves, where chaos separates single episodes."""
    env = recorded.make(domain, impl="jax")
    episodes, steps = EPISODES.get(domain, (64, 200))
    ours, _ = live.our_episodes(env, 21, episodes, steps)
    values = live.told_apart(ours, live.suite_episodes(env, 22, episodes, steps))
    assert min(values.values()) > 0.01, values


def test_episodes_under_another_gravity_are_not_alike():
    env = recorded.make("hopper", impl="jax")
    ours, _ = live.our_episodes(env, 21, 64, 100)
    light = live.suite_episodes(env, 22, 64, 100, {"gravity.z": np.asarray([-5.0])})
    values = live.told_apart(ours, light)
    assert min(values.values()) < 1e-4, values


@pytest.fixture
def reference_site(monkeypatch):
    """The folder with the reference's package, of which nothing is left behind."""
    python = reference_python()
    monkeypatch.setattr(sys, "path", list(sys.path))
    (site,) = Path(python).parents[1].glob("lib/python3*/site-packages")
    yield site
    for name in [name for name in sys.modules if name.startswith("stable_worldmodel")]:
        del sys.modules[name]


@pytest.mark.reference
@pytest.mark.parametrize("domain", ["cheetah", "hopper", "walker"])
def test_rewards_of_the_references_own_tasks(domain, reference_site):
    env = recorded.make(domain, impl="jax")
    tasks, kind = live.reference_tasks(env, reference_site)
    rows = live.rows_of(env, 14, 12, tasks, kind)
    assert set(rows["after"]["reward"]) == set(env.tasks)
    with jax.enable_x64(True):
        apart = live.differences(env, rows)
    assert worst(apart) < 1e-8, apart
