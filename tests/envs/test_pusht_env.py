"""PushT as an environment: spaces, reset options, goals and states, success, the behaviour policy, Gymnasium."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs_mjx
from envs_mjx.pusht import PushT, shapes

ID = "swm/PushT-v1"
ENV = envs_mjx.make(ID)
FAR = np.array([60.0, 450.0, 200.0, 150.0, 1.0, 0.0, 0.0], np.float32)
PERIOD = {"square": np.pi / 2, "+": np.pi / 2, "I": np.pi, "Z": np.pi}


def reset_to(start, goal):
    """A scene with the initial factors but with agent and block at a state."""
    return ENV.reset(jax.random.key(0), variation=(), options={"state": start, "goal_state": goal})


def step(state, action):
    return ENV.step(state, jnp.asarray(action, jnp.float32))


@pytest.fixture(scope="module")
def far():
    """Agent and block far from each other, at the goal."""
    return reset_to(FAR, FAR)


@pytest.fixture(scope="module")
def batch():
    """Episodes of the default reset."""
    states = [ENV.reset(key) for key in jax.random.split(jax.random.key(1), 16)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def row(states, i):
    return jax.tree.map(lambda leaf: leaf[i], states)


def contained(state) -> bool:
    space = ENV.observation_space
    return space.contains({name: np.asarray(state.obs[name], space[name].dtype) for name in space.spaces})


def factors_of(key, **arguments):
    """Factors of a reset; the rest of the program is not compiled."""
    return jax.jit(lambda key: ENV.reset(key, **arguments).factors)(key)


def reset_shape(**arguments):
    return jax.eval_shape(lambda key: ENV.reset(key, **arguments), jax.random.key(0))


def test_default_reset(batch):
    positions = np.asarray(batch.obs["state"])
    goals = np.asarray(batch.goal)
    for vectors in (positions, goals):
        assert ((vectors[:, :2] >= 50) & (vectors[:, :2] <= 450)).all()
        assert len(np.unique(vectors, axis=0)) == 16
        np.testing.assert_array_equal(vectors[:, 5:], 0.0)
    assert ((goals[:, 2:4] >= 100) & (goals[:, 2:4] <= 400)).all()
    assert (np.abs(goals[:, 4]) <= 2 * np.pi + 1e-6).all()
    assert (positions != goals).any(1).all()
    assert not batch.terminated.any()
    assert not batch.truncated.any()
    np.testing.assert_array_equal(batch.reward, np.zeros(16))
    np.testing.assert_array_equal(batch.step, np.zeros(16, int))
    assert all(contained(row(batch, i)) for i in range(16))
    initial = ENV.variation_space
    for name in initial.names():
        same = np.allclose(batch.factors[name][0], initial.factor(name).init_value, rtol=1e-6)
        assert same != (name in ENV.default_variation), name


def test_the_key_decides_the_episode(batch):
    again = ENV.reset(jax.random.split(jax.random.key(1), 16)[3])
    assert jax.random.key_data(again.key).tolist() == jax.random.key_data(batch.key[3]).tolist()
    first = row(batch, 3)
    for part in ("physics", "obs", "goal", "factors", "info"):
        jax.tree.map(np.testing.assert_array_equal, getattr(again, part), getattr(first, part))


def test_step_keeps_structure_and_dtypes(far):
    after = step(far, [0.3, -0.2])
    assert jax.tree.structure(after) == jax.tree.structure(far)
    for a, b in zip(jax.tree.leaves(far), jax.tree.leaves(after), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert contained(after)
    assert after.step == 1
    with jax.enable_x64(True):
        wide = reset_shape()
        later = jax.eval_shape(ENV.step, wide, jax.ShapeDtypeStruct((2,), jnp.float32))
        assert wide.obs["state"].dtype == jnp.float64
        described = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)] for state in (wide, later)]
        assert described[0] == described[1]


def test_variation_and_values():
    key = jax.random.key(5)
    still = factors_of(key, variation=())
    for name, value in still.items():
        np.testing.assert_allclose(value, ENV.variation_space.factor(name).init_value, rtol=1e-6)
    some = factors_of(key, variation=("block.shape", "background"), values={"block.scale": 45.0})
    assert some["block.scale"] == 45.0
    changed = {name for name in still if not np.array_equal(still[name], some[name])}
    assert {"background.color", "block.scale"} <= changed <= {"background.color", "block.scale", "block.shape"}


def test_bad_reset_arguments():
    with pytest.raises(ValueError, match="unknown option .*'stat'; did you mean 'state'"):
        reset_shape(options={"stat": FAR})
    for name in ("state", "goal_state"):
        with pytest.raises(ValueError, match=rf"{name} must have 7 entries.*\(5,\)"):
            reset_shape(options={name: FAR[:5]})
    with pytest.raises(ValueError, match="block.shap.*block.shape"):
        reset_shape(variation=("block.shap",))
    with pytest.raises(ValueError, match="block.scale"):
        reset_shape(values={"block.scale": 61.0})
    for bad in (0, 7, -3, True):
        with pytest.raises(ValueError, match="resolution"):
            PushT(resolution=bad)
    with pytest.raises(ValueError, match="resolution"):
        envs_mjx.make(ID, resolutoin=96)


def test_explicit_start_and_goal(far):
    np.testing.assert_allclose(far.obs["state"], FAR, rtol=1e-6)
    np.testing.assert_array_equal(far.goal, FAR)
    np.testing.assert_array_equal(far.info["goal_state"], FAR)
    np.testing.assert_array_equal(far.info["goal_proprio"], FAR[[0, 1, 5, 6]])
    np.testing.assert_array_equal(far.obs["proprio"], far.obs["state"][np.array([0, 1, 5, 6])])
    np.testing.assert_allclose(far.info["goal_pose"], [256, 256, np.pi / 4])
    assert far.terminated
    # The physics step of the reset moves an agent that has a velocity.
    moving = reset_to(FAR + np.array([0, 0, 0, 0, 0, 100, 50], np.float32), FAR)
    np.testing.assert_allclose(moving.obs["state"][:2], FAR[:2] + np.array([1.0, 0.5]), rtol=1e-6)


def test_contacts_of_a_reset_come_from_goal_and_start():
    inside = FAR.copy()
    inside[:2] = [200.0, 150.0]
    assert reset_to(FAR, FAR).info["n_contacts"] == 0
    assert reset_to(inside, FAR).info["n_contacts"] == 1
    after_goal = reset_to(FAR, inside)
    assert after_goal.info["n_contacts"] == 1
    # The correction from the visit to the goal is still at work when the block is put at its start.
    assert np.abs(after_goal.obs["state"][2:5] - FAR[2:5]).max() > 1e-3


def test_reward_and_kinematics_of_a_free_step(far):
    after = step(far, [1.0, 0.0])
    # From rest, ten steps of the agent's controller cover this much of a target 100 px away.
    np.testing.assert_allclose(after.obs["state"][:2], FAR[:2] + np.array([29.57, 0.0]), atol=0.01)
    np.testing.assert_allclose(after.obs["state"][2:5], FAR[2:5], rtol=1e-6)
    np.testing.assert_allclose(after.reward, -np.linalg.norm(far.goal - after.obs["state"]), rtol=1e-6)
    assert after.info["n_contacts"] == 0


def test_the_agent_may_leave_the_window(far):
    state = far
    for _ in range(4):
        state = step(state, [-1.0, 0.0])
    assert state.obs["state"][0] < 0.0


def test_goal_round_trip(batch):
    states = jax.vmap(ENV.set_goal)(batch, jax.vmap(ENV.goal_from)(batch))
    np.testing.assert_array_equal(jax.vmap(ENV.distance)(states), np.zeros(16))
    np.testing.assert_array_equal(jax.vmap(ENV.planning_cost)(states), np.zeros(16))
    assert states.terminated.all()
    np.testing.assert_array_equal(states.info["goal_state"], states.goal)
    np.testing.assert_array_equal(states.obs["state"], batch.obs["state"])


def test_state_round_trip(far):
    moved = step(step(far, [1.0, -1.0]), [0.0, 1.0])
    back = ENV.set_state(moved, jnp.asarray(FAR))
    np.testing.assert_allclose(back.obs["state"], FAR, rtol=1e-6)
    assert back.terminated
    assert back.step == moved.step
    np.testing.assert_array_equal(back.goal, moved.goal)
    assert all(np.array_equal(back.factors[name], moved.factors[name]) for name in back.factors)
    # A recorded state is reached again but for the way of the physics step, and angles are wrapped.
    turned = FAR + np.array([0, 0, 0, 0, 4 * np.pi, 0, 0], np.float32)
    np.testing.assert_allclose(ENV.set_state(moved, jnp.asarray(turned)).obs["state"], FAR, rtol=1e-5)


def test_angles_of_observations_stay_within_their_bound(far):
    slightly_negative = jnp.asarray(FAR).at[4].set(-1e-9)
    assert contained(ENV.set_state(far, slightly_negative))


def test_success_is_the_references_rule(far):
    rng = np.random.default_rng(0)
    number = 400
    state = np.asarray(far.obs["state"], np.float64)
    goals = np.tile(state, (number, 1))
    goals[:, :4] += rng.normal(0, 9.0, (number, 4))
    goals[:, 4] += rng.uniform(-4 * np.pi, 4 * np.pi, number)
    block_shapes = rng.integers(1, 8, number)
    goals = goals.astype(np.float32)

    def judge(goal, shape):
        state = far.replace(factors=far.factors | {"block.shape": shape})
        state = ENV.set_goal(state, goal)
        return state.terminated, ENV.distance(state), ENV.planning_cost(state)

    ended, distance, cost = jax.jit(jax.vmap(judge))(goals, jnp.asarray(block_shapes, jnp.int32))
    gap = np.linalg.norm(goals[:, :4] - state[:4], axis=1)
    period = np.array([PERIOD.get(shapes.NAMES[shape], 2 * np.pi) for shape in block_shapes])
    turn = np.abs(goals[:, 4] - state[4]) % period
    turn = np.minimum(turn, period - turn)
    np.testing.assert_allclose(distance, gap, rtol=1e-5)
    np.testing.assert_allclose(cost, (gap / 20) ** 2 + (turn / (np.pi / 9)) ** 2, rtol=1e-3, atol=1e-3)
    clear = (np.abs(gap - 20) > 1e-3) & (np.abs(turn - np.pi / 9) > 1e-4)
    expected = (gap < 20) & (turn < np.pi / 9)
    np.testing.assert_array_equal(np.asarray(ended)[clear], expected[clear])
    for name in ("T", "square", "I"):
        mine = block_shapes == shapes.NAMES.index(name)
        assert 0 < expected[mine].sum() < mine.sum()


def test_behaviour_actions_aim_near_the_block(batch):
    keys = jax.random.split(jax.random.key(3), 200)
    actions = jax.vmap(lambda state: jax.vmap(lambda key: ENV.behaviour_action(key, state))(keys))(batch)
    assert actions.dtype == jnp.float32
    assert np.abs(actions).max() <= 1.0
    agent, block = np.asarray(batch.obs["state"])[:, None, :2], np.asarray(batch.obs["state"])[:, None, 2:4]
    beyond = np.abs(agent + 100.0 * np.asarray(actions) - block) > 100.001
    # Only an agent too far for one action may aim beyond, and then as near as it can.
    hurrying = np.asarray(actions) == np.sign(block - agent)
    assert (hurrying | ~beyond).all()
    assert beyond.any()
    near = row(batch, 0).replace(obs={"state": jnp.array([210.0, 160.0, 200.0, 150.0, 0.0, 0.0, 0.0])})
    targets = jax.vmap(lambda key: ENV.behaviour_action(key, near))(keys) * 100.0 + np.array([[10.0, 10.0]])
    assert np.abs(targets).max() <= 100.001
    assert np.abs(targets).max() > 90.0


def test_passes_gymnasiums_checker():
    env = gymnasium.make(ID, render_mode="rgb_array").unwrapped
    check_env(env)
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((224, 224, 3), np.uint8)


def test_frames_of_other_resolutions(far):
    for resolution in (64, 96):
        env = PushT(resolution=resolution)
        frame = jax.eval_shape(env.render, far)
        assert (frame.shape, frame.dtype) == ((resolution, resolution, 3), jnp.uint8)


@pytest.mark.slow
def test_absolute_actions_are_window_positions(far):
    env = PushT(relative=False)
    absolute = jax.jit(env.step)
    state = far
    for _ in range(40):
        state = absolute(state, jnp.array([90.0, 420.0], jnp.float32))
    np.testing.assert_allclose(state.obs["state"][:2], [90.0, 420.0], atol=0.1)


@pytest.mark.slow
def test_the_overlay_can_be_switched_off(far):
    shown, hidden = (jax.jit(PushT(with_target=flag).render)(far) for flag in (True, False))
    by_factor = far.replace(factors=far.factors | {"rendering.render_goal": jnp.zeros((), jnp.int32)})
    np.testing.assert_array_equal(jax.jit(ENV.render)(by_factor), hidden)
    changed = (np.asarray(shown) != np.asarray(hidden)).any(-1)
    assert changed.sum() > 500
