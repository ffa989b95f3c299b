"""What every environment promises, on the domains that compile fastest, and mistakes that are refused."""

import functools
import re
import subprocess
import sys

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from envs.mujoco import recorded

import envs_mjx
from envs_mjx import programs
from envs_mjx.mujoco import engine


@pytest.fixture(scope="module")
def pendulum():
    return recorded.make("pendulum")


@pytest.fixture(scope="module")
def three(pendulum):
    """Programs for three rows."""
    return functools.partial(programs.reset_batch, pendulum), functools.partial(programs.step_batch, pendulum)


@pytest.fixture(scope="module")
def matching():
    return recorded.make("reacher", task="qpos_match", impl="c")


def test_every_domain_can_be_made():
    for domain in recorded.NAMES:
        env = recorded.make(domain, impl="c")
        assert (env, hash(env)) == (recorded.make(domain, impl="c"), hash(recorded.make(domain, impl="c")))
        golden = recorded.golden(domain)
        assert env.action_space.shape == golden["action"].shape[1:]
        assert env.observation_space["observation"].shape == golden["obs"].shape[1:]
        assert {name.removeprefix("factor.") for name in golden if name.startswith("factor.")} == set(
            env.variation_space.names()
        )
        for name in env.variation_space.names():
            initial = env.variation_space.factor(name).init_value
            np.testing.assert_array_equal(initial, golden[f"factor.{name}"][0], err_msg=name)


def test_structure_and_types_never_change(pendulum):
    start = pendulum.reset(jax.random.key(1))
    after = pendulum.step(start, jnp.ones(1))
    assert jax.tree.structure(start) == jax.tree.structure(after)
    kinds = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)] for state in (start, after)]
    assert kinds[0] == kinds[1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.obs, after.info, after.reward)))
    compiled = programs.step._cache_size()
    pendulum.step(after, jnp.ones(1))
    assert programs.step._cache_size() == compiled


def test_reset_is_a_function_of_its_key(pendulum):
    first, again, other = (pendulum.reset(jax.random.key(seed)).info["qpos"] for seed in (5, 5, 6))
    assert first == again != other


def test_a_batch_is_its_rows(pendulum, three):
    resets, steps = three
    keys = jax.random.split(jax.random.key(0), 3)
    batch = steps(resets(keys), jnp.ones((3, 1)))
    for row, key in enumerate(keys):
        alone = pendulum.step(pendulum.reset(key), jnp.ones(1))
        np.testing.assert_allclose(batch.info["state"][row], alone.info["state"], rtol=1e-5)


def test_diverged_physics_ends_its_row_alone(three):
    resets, steps = three
    start = resets(jax.random.split(jax.random.key(0), 3))
    broken = start.replace(physics=start.physics.replace(qvel=start.physics.qvel.at[0].set(jnp.nan)))
    after = steps(broken, jnp.ones((3, 1)))
    assert after.info["diverged"].tolist() == [True, False, False]
    assert after.truncated.tolist() == [True, False, False]
    assert not after.terminated.any()
    assert after.reward[0] == 0
    assert np.isfinite(after.obs["observation"]).all()
    assert after.info["qvel"][1] != start.info["qvel"][1]


def test_episodes_are_cut_after_the_suites_time_limit(pendulum):
    start = pendulum.reset(jax.random.key(0))
    state = pendulum.step(start.replace(step=jnp.asarray(pendulum.time_limit - 2, jnp.int32)), jnp.zeros(1))
    assert not state.truncated
    assert pendulum.step(state, jnp.zeros(1)).truncated


def test_bad_actions_change_nothing(pendulum):
    state = pendulum.reset(jax.random.key(1))
    after = pendulum.step(state, jnp.full(1, jnp.nan, jnp.float32))
    assert (after.info["invalid_action"], after.reward, after.step) == (True, 0, 1)
    np.testing.assert_array_equal(after.info["state"], state.info["state"])
    with pytest.raises(ValueError, match="action"):
        pendulum.step(state, jnp.zeros(3))


def test_without_a_goal_planning_minimises_the_missed_reward(pendulum):
    env, key = pendulum, jax.random.key(0)
    up, down = (env.reset(key, options={"state": jnp.asarray([angle, 0.0])}) for angle in (0.0, 3.0))
    assert env.planning_cost(up) == 0
    assert env.planning_cost(env.step(up, jnp.zeros(1))) == pytest.approx(0, abs=1e-4)
    assert env.planning_cost(env.step(down, jnp.zeros(1))) == pytest.approx(2)

    @jax.jit
    def away(goal):
        state = env.set_goal(down, goal)
        return env.distance(state), env.planning_cost(state)

    assert away(env.goal_from(up)) == pytest.approx((3.0, 9.0))
    assert away(env.goal_from(down)) == (0, 0)
    # The short way round.
    assert away(jnp.asarray([3.0 - 2 * np.pi, 0.0]))[0] == pytest.approx(0, abs=1e-5)


def test_matching_positions_ends_the_episode_before_the_second_control_step(matching):
    env = matching
    start = jnp.asarray([0.3, 0.2, 2.0, 0.0])
    options = {"state": start, "target": jnp.asarray([0.1, 0.1])}
    placed = env.reset(jax.random.key(0), options=options)
    never = env.step(placed, jnp.zeros(2))
    assert not never.terminated
    goal = start.at[:2].add(jnp.asarray([0.08, 0.01]))
    state = jax.jit(env.set_goal)(placed, goal)
    assert not state.terminated
    after = env.step(state, jnp.zeros(2))
    assert after.terminated
    # Reached by the first of the two control steps, after which the suite stops.
    assert start[0] + 0.03 < after.info["qpos"][0] < never.info["qpos"][0] - 0.02


def test_targets_are_set_apart_from_states(matching):
    env = matching
    options = {"state": jnp.zeros(4), "target": jnp.asarray([0.1, 0.1])}
    state = env.reset(jax.random.key(0), options=options)
    np.testing.assert_allclose(state.info["target_pos"], [0.1, 0.1], atol=1e-6)
    moved = jax.jit(lambda state: env.set_target(env.set_state(state, jnp.ones(4)), jnp.asarray([-0.1, 0.05])))(state)
    np.testing.assert_allclose(moved.info["target_pos"], [-0.1, 0.05], atol=1e-6)
    np.testing.assert_array_equal(moved.info["qpos"], [1, 1])
    with pytest.raises(ValueError, match="2 entries"):
        env.set_target(state, jnp.zeros(3))
    with pytest.raises(ValueError, match=r"4 entries \(2 positions, 2 velocities\)"):
        env.set_state(state, jnp.zeros(3))


@pytest.mark.parametrize("domain", recorded.NAMES)
def test_states_of_the_reference_can_be_and_broken_ones_cannot(domain):
    env, golden = recorded.make(domain, impl="c"), recorded.golden(domain)
    vectors = np.concatenate([golden["qpos"], golden["qvel"]], axis=1)
    env.check_state(vectors)
    for value in (np.nan, 1e11):
        broken = vectors.copy()
        broken[1, -1] = value
        with pytest.raises(ValueError, match=re.escape(f"row 1, entry {vectors.shape[1] - 1} is {value:g}")):
            env.check_state(broken)
    # What stands in for a traced vector that is not finite must be one that physics can go on from.
    np.testing.assert_array_equal(env.state_bounds(vectors.shape[1]).neutral[: env.host.nq], env.host.qpos0)


def test_broken_targets_and_joints_beyond_their_range_are_refused(matching):
    state = matching.reset(jax.random.key(0))
    with pytest.raises(ValueError, match="target: entry 1 is nan, but must be finite"):
        matching.set_target(state, jnp.asarray([0.1, jnp.nan]))
    with pytest.raises(ValueError, match="state: entry 1 is 9, but must be from -8.37758 to 8.37758"):
        matching.set_state(state, [0.0, 9.0, 0.0, 0.0])


def test_gymnasium_runs_it():
    env = gymnasium.make("swm/PendulumDMControl-v0")
    observation, info = env.reset(seed=0, options={"variation": ("gravity",)})
    assert observation["observation"].dtype == np.float32
    _, reward, terminated, truncated, after = env.step(np.ones(1, np.float32))
    assert (terminated, truncated) == (False, False)
    assert 0 <= reward <= 2
    assert set(info) == set(after)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "rum"}, "did you mean 'run'.*run-backward"),
        ({"fidelity": "slow"}, "fidelity must be one of parity, fast"),
        ({"impl": "cuda"}, "impl must be one of jax, warp, c, auto"),
        ({"renderer": "gl"}, "renderer must be one of host, warp"),
        ({"warp_contacts": 0}, "warp_contacts must be a whole number of at least 1"),
        ({"resolution": 2}, "at least 8"),
    ],
)
def test_bad_arguments_say_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        recorded.make("cheetah", **arguments)


@pytest.mark.parametrize(
    ("mjcf", "message"),
    [
        ('<option integrator="implicit"/>', "integrator='implicit'"),
        ('<option solver="PGS"/>', "solver='PGS'"),
        ('<option><flag energy="enable"/></option>', "energy='enable'"),
        (
            '<worldbody><geom name="table" type="box" size="1 1 1"/><body><freejoint/>'
            '<geom name="can" type="cylinder" size=".1 .1"/></body></worldbody>',
            r"'can' \(cylinder\) and 'table' \(box\)",
        ),
    ],
)
def test_models_that_mjx_cannot_run_name_the_element(mjcf, message):
    model = mujoco.MjModel.from_xml_string(f"<mujoco>{mjcf}</mujoco>")
    with pytest.raises(ValueError, match=message):
        engine.put(model, "jax")


def test_without_the_extra_the_package_imports_and_names_the_extra():
    code = (
        "import sys; sys.modules['mujoco'] = None; import envs_mjx\n"
        "try: envs_mjx.make('swm/CheetahDMControl-v0')\n"
        "except ImportError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "swm/CheetahDMControl-v0 needs mujoco" in result.stdout
    assert "is not installed: pip install 'swmjax[mujoco]'" in result.stdout
    assert envs_mjx.spec("swm/CheetahDMControl-v0").extra == "mujoco"
