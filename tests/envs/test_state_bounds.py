"""States and goals that cannot be: refused where they are given, flagged where they are traced."""

from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv

import envs_mjx
from envs_mjx import programs
from envs_mjx.checks import UserError
from envs_mjx.wrappers import TimeLimit

# A vector that can be; an entry, and a number that it cannot be.
VECTORS = {
    "swm/PushT-v1": ([100, 100, 300, 300, 0, 0, 0], 0, 600, "from -64 to 576"),
    "swm/PushT-Discrete-v1": ([100, 100, 300, 300, 0, 0, 0], 5, 1e4, "from -5120 to 5120"),
    "swm/TwoRoom-v1": ([60, 60], 1, -20, "from 0 to 224"),
    "swm/Piecewise-v0": ([60, 60], 0, 500, "from 0 to 224"),
    "swm/SimplePointMaze-v0": ([0.5, 0.5], 1, 6, "from 0 to 5"),
    "swm/VoidRun-v0": ([5, 5], 0, 60, "from 0 to 49"),
    "swm/ImagePositioning-v1": ([0.5] * 11, 3, 2, "from 0 to 1"),
    "swm/CartPoleControl-v1": ([2.5, 3, 7, 3], 0, 50, "from -7.2 to 7.2"),
    "swm/MountainCarControl-v0": ([0.6, 0.1], 0, 2, "from -1.8 to 0.9"),
    "swm/MountainCarContinuousControl-v0": ([-1.2, -0.07], 1, 1, "from -0.105 to 0.105"),
    "swm/AcrobotControl-v1": ([20, -20, 12.5, 28], 3, 99, "from -42.4115 to 42.4115"),
    "swm/PendulumControl-v1": ([100, 12], 1, -13, "from -12 to 12"),
}
ENV = envs_mjx.make("swm/TwoRoom-v1")
GOLDEN = Path(__file__).parents[1] / "golden"


def resets():
    return programs.reset._cache_size()


def test_every_environment_without_an_extra_is_here():
    ids = {id for id in envs_mjx.registered_ids() if id.startswith("swm/") and envs_mjx.spec(id).extra is None}
    assert ids == set(VECTORS)


@pytest.mark.parametrize("id", VECTORS)
def test_vectors_that_cannot_be_are_refused_before_anything_is_compiled(id):
    env = TimeLimit(envs_mjx.make(id), 5)
    good, entry, wrong, limits = VECTORS[id]
    good = np.asarray(good, np.float64)
    goals = [name for name in ("goal_state", "target_state") if name in env.option_names]
    env.check_reset(options={"state": good, goals[0]: good})
    before = resets()
    for value in (wrong, np.nan, np.inf):
        bad = good.copy()
        bad[entry] = value
        message = f"entry {entry} is {value:g}, but must be {limits}"
        for given in (bad, bad.tolist(), jnp.asarray(bad)):
            with pytest.raises(UserError, match=f"^state: {message}$"):
                env.reset(jax.random.key(0), options={"state": given})
        for name in goals:
            with pytest.raises(UserError, match=f"^{name}: {message}$"):
                env.reset(jax.random.key(0), options={name: bad})
        with pytest.raises(UserError, match=f"^starts: row 2, {message}$"):
            env.check_state(np.stack([good, good, bad]), "starts")
    assert resets() == before


def test_setting_a_state_or_a_goal_that_cannot_be_is_refused():
    state = ENV.reset(jax.random.key(0), variation=())
    for bad in ([500.0, -20.0], [np.nan, 60.0], jnp.asarray([60.0, jnp.inf])):
        with pytest.raises(UserError, match="^state: entry . is .*, but must be from 0 to 224$"):
            ENV.set_state(state, bad)
        with pytest.raises(UserError, match="^goal_state: entry . is .*, but must be from 0 to 224$"):
            ENV.set_goal(state, bad)
    with pytest.raises(UserError, match="state must hold numbers, got \\['left'\\]"):
        ENV.check_state(["left"])


def test_recorded_states_of_the_reference_are_accepted():
    for id, name in (("swm/TwoRoom-v1", "tworoom"), ("swm/Piecewise-v0", "piecewise")):
        recorded = np.load(GOLDEN / f"{name}.npz")
        for part in ("state", "goal_state"):
            vectors = recorded[part].reshape(-1, 2)
            envs_mjx.make(id).check_state(vectors)
    pusht = np.load(GOLDEN / "pusht_t.npz")
    for part in ("start", "goal_state"):
        envs_mjx.make("swm/PushT-v1").check_state(pusht[part])


def test_traced_ones_are_flagged_and_nan_is_not_entered():
    first = ENV.reset(jax.random.key(0), variation=())
    assert not first.info["invalid_state"]

    @jax.jit
    def moved(state, value):
        placed, aimed = ENV.set_state(state, value), ENV.set_goal(state, value)
        return placed, aimed, ENV.step(placed, jnp.ones(2)), ENV.step(aimed, jnp.ones(2))

    assert not any(state.info["invalid_state"] for state in moved(first, jnp.asarray([60.0, 70.0])))
    for bad in ([jnp.nan, 60.0], [60.0, -jnp.inf]):
        placed, aimed, *stepped = moved(first, jnp.asarray(bad))
        assert all(state.info["invalid_state"] for state in (placed, aimed, *stepped))
        for state in (placed, aimed):
            np.testing.assert_array_equal(state.physics, first.physics)
            np.testing.assert_array_equal(state.goal, first.goal)
        assert all(np.isfinite(state.physics).all() for state in stepped)
    # The physics leads where no state is put, and there a goal can be set.
    placed, aimed, *_ = moved(first, jnp.asarray([500.0, -20.0]))
    assert placed.info["invalid_state"]
    np.testing.assert_array_equal(placed.physics, [500.0, -20.0])
    np.testing.assert_array_equal(aimed.goal, [500.0, -20.0])


def test_traced_starts_are_flagged_in_their_row():
    def start(value):
        return ENV.reset(jax.random.key(0), variation=(), options={"state": value, "target_state": value})

    rows = jax.jit(jax.vmap(start))(jnp.asarray([[60.0, 60.0], [jnp.nan, 60.0], [900.0, 60.0]]))
    np.testing.assert_array_equal(rows.info["invalid_state"], [False, True, True])
    np.testing.assert_array_equal(rows.physics, [[60.0, 60.0], [112.0, 112.0], [900.0, 60.0]])
    assert np.isfinite(rows.goal).all()


def test_gradients_of_flagged_states_are_finite():
    state = GoalEnv().reset(jax.random.key(0), variation=())
    cost = jax.grad(lambda value: GoalEnv().planning_cost(GoalEnv().set_state(state, value)))
    np.testing.assert_allclose(cost(jnp.asarray([0.25])), [0.5])
    assert np.isfinite(cost(jnp.asarray([jnp.nan]))).all()


def test_other_options_must_be_finite():
    with pytest.raises(UserError, match="^low: got nan, but must be finite$"):
        envs_mjx.make("swm/CartPoleControl-v1").reset(jax.random.key(0), options={"low": np.nan})
    with pytest.raises(UserError, match="^goal: entry 0 is inf, but must be finite$"):
        GoalEnv().reset(jax.random.key(0), options={"goal": [np.inf]})


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_gymnasium_refuses_them_too(make):
    env = make("swm/PushT-v1").unwrapped
    for state in ([600, 100, 300, 300, 0, 0, 0], [np.nan] * 7):
        with pytest.raises(UserError, match="state: entry 0 is (600|nan), but must be from -64 to 576"):
            env.reset(seed=0, options={"state": np.asarray(state, np.float32)})
