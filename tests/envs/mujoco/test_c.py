"""MuJoCo's C library as the implementation: the bits of dm_control, in any batch and any number of threads."""

import concurrent.futures
import dataclasses
import os

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from envs.mujoco import recorded
from envs.mujoco.arm import ARM, tip
from envs.mujoco.varied import varied_model

from envs_mjx import programs
from envs_mjx.mujoco import MjcfEnv
from envs_mjx.mujoco.implementation import Motion
from envs_mjx.mujoco.native_models import Models

live = pytest.importorskip(
    "envs.mujoco.live", reason="needs dm_control: pip install 'swmjax[mujoco]'", exc_type=ImportError
)

# dm_control asks for a total mass in the old way.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*settotalmass.*:UserWarning")

STATE = ("qpos", "qvel", "act", "qacc_warmstart")
CONTROL_STEPS = 50
# Where the reference's factors do not begin with the suite's own values.
QUICK = (("walker", True), ("finger", False), ("ball_in_cup", False), ("manipulator", True))
CHANGED = ("walker", "quadruped", "manipulator")

TOUCHING = ("ball_in_cup", "cheetah", "hopper", "humanoid", "quadruped", "manipulator")


def initial_factors(env):
    """All factors at their initial values."""
    space = env.variation_space
    return {name: np.asarray(space.factor(name).init_value) for name in space.names()}


def of_data(data):
    """What leads from MuJoCo's data to the next state, in double precision."""
    return np.concatenate([getattr(data, name) for name in STATE])


def physics_at(env, fields, state, target):
    """The physics of a state [S] in double precision."""
    sizes = np.cumsum([env.host.nq, env.host.nv, env.host.na])
    parts = np.split(state.astype(np.float32), sizes)
    leaves = dict(zip(("qpos", "qvel", "act", "warmstart"), map(jnp.asarray, parts), strict=True))
    exact = jnp.asarray(state.view(np.uint32))
    return env._blank().replace(**leaves, exact=exact, fields=fields, target=jnp.asarray(target, jnp.float32))


@pytest.mark.parametrize(
    ("domain", "task"), [*((name, "") for name in recorded.NAMES), ("finger", "spin"), ("quadruped", "run")]
)
def test_it_moves_as_dm_control_does(domain, task):
    """The state to the bit over 50 control steps of random actions; observations and rewards of all tasks rounded."""
    env = recorded.make(domain, impl="c", **({"task": task} if task else {}))
    suite = live.suite.load(domain, env.task, {"random": 3})
    physics, own = suite.physics, suite.task
    if domain in CHANGED:
        physics = live.physics_of(env, initial_factors(env), live.suite_physics(env))
    live.begin(physics, own)
    alone = env.task in recorded.ALONE.get(domain, ())
    tasks = {env.task: own} if alone else live.suite_tasks(env, 3)
    target = live.target_of(domain, physics).astype(np.float32).astype(float)
    set_target(domain, physics, target)
    physics.forward()
    start = of_data(physics.data)
    actions = np.random.default_rng(0).uniform(-1, 1, (CONTROL_STEPS, env.host.nu)).astype(np.float32)
    controls = np.asarray(jax.vmap(lambda action: env._controls(action, np.dtype(np.float32)))(jnp.asarray(actions)))
    states, observations, rewards = [], [], []
    for control in controls:
        physics.set_control(control.astype(float))
        physics.step(env.substeps)
        states.append(of_data(physics.data))
        observations.append(live.flat(own.get_observation(physics)))
        rewards.append({name: live.judged(task, physics) for name, task in tasks.items()})

    def judge(view):
        return {name: type(env)(impl="c", task=name)._reward(view) for name in tasks}

    @jax.jit
    def play(state, controls):
        physics = state.replace(fields=env._fields(jax.tree.map(jnp.asarray, initial_factors(env))))
        look = env._looking(physics, jnp.zeros((env._state_size,)), judge, env._observe)
        motion = Motion(1, env.substeps)
        return env.compiled.moves.rolled(physics, env._changes(physics), controls, motion, None, look)

    after, (values, observed, _) = jax.device_get(play(physics_at(env, {}, start, target), jnp.asarray(controls)))
    np.testing.assert_array_equal(after.exact[:, 0].copy().view(np.float64), np.stack(states))
    np.testing.assert_allclose(observed[:, 0], np.stack(observations), rtol=2e-6, atol=2e-6)
    for name in tasks:
        np.testing.assert_allclose(values[name][:, 0], [row[name] for row in rewards], rtol=1e-5, atol=1e-6)


def set_target(domain, physics, target):
    """Put dm_control's target where single precision has it."""
    model = physics.named.model
    if domain == "reacher":
        model.geom_pos["target", :2] = target
    elif domain == "finger":
        model.site_pos["target"][[0, 2]] = target
    elif domain == "manipulator":
        model.body_pos["target_ball"], model.body_quat["target_ball"] = target[:3], target[3:]


@pytest.fixture(scope="module")
def hopper():
    """An environment with contacts, force sensors and a lock, and four starts with all factors drawn."""
    env = recorded.make("hopper", impl="c", fixed=True)
    keys = jax.random.split(jax.random.key(0), 4)
    states = programs.reset_batch(env, keys, ("all",), {"agent.foot_locked": jnp.asarray(1)})
    actions = jax.random.uniform(jax.random.key(1), (4, 3, 4), minval=-1, maxval=1)
    return env, states, actions


def physics_bits(states):
    """What moves, and what the rows of a batch have in common with single states."""
    return jax.tree.map(np.asarray, (states.physics, states.obs, states.info["qpos"], states.info["diverged"]))


def row_of(tree, *index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_the_bits_do_not_depend_on_the_batch_the_threads_or_the_rollout(hopper, monkeypatch):
    env, states, actions = hopper
    last, kept = jax.vmap(env.rollout)(states, actions)
    expected = physics_bits(kept)
    stepped = states
    for step in range(3):
        stepped = programs.step_batch(env, stepped, actions[:, step])
        assert_same(physics_bits(stepped), jax.tree.map(lambda leaf, at=step: leaf[:, at], expected))
    assert_same(physics_bits(stepped), physics_bits(last))
    assert_same(physics_bits(env.rollout(row_of(states, 2), actions[2])[1]), row_of(expected, 2))
    # Candidates of a planner: the state is shared, or it is that of an outer batch.
    candidates = jnp.stack([actions, actions[:, ::-1]], axis=1)
    nested = jax.vmap(jax.vmap(env.rollout, (None, 0)))(states, candidates)[1]
    assert_same(jax.tree.map(lambda leaf: leaf[:, 0], physics_bits(nested)), expected)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for threads in (1, 2, 4):
        other = dataclasses.replace(env, threads=threads)
        assert other.compiled is not env.compiled
        assert_same(physics_bits(jax.vmap(other.rollout)(states, actions)[1]), expected)


def test_a_row_that_diverges_or_gets_a_bad_action_leaves_the_others_alone(hopper, tmp_path, monkeypatch, capfd):
    env, states, actions = hopper
    monkeypatch.chdir(tmp_path)
    expected = physics_bits(jax.vmap(env.rollout)(states, actions)[1])
    broken = states.replace(physics=states.physics.replace(qvel=states.physics.qvel.at[1, 0].set(jnp.nan)))
    bad = actions.at[2, 1].set(jnp.nan)
    after = jax.vmap(env.rollout)(broken, bad)[1]
    assert after.info["diverged"].tolist() == [[False] * 3, [True] * 3, [False] * 3, [False] * 3]
    assert after.truncated[1].all()
    assert after.info["invalid_action"].tolist() == [[False] * 3, [False] * 3, [False, True, False], [False] * 3]
    for row in (0, 3):
        assert_same(row_of(physics_bits(after), row), row_of(expected, row))
    found = jax.tree.map(lambda leaf: leaf[2], physics_bits(after))
    assert_same(row_of(found, 1), row_of(found, 0))
    step = env.step(env.step(row_of(states, 2), actions[2, 0]), actions[2, 2])
    assert_same(row_of(found, 2), physics_bits(step))
    assert np.isfinite(after.obs["observation"]).all()
    assert list(tmp_path.iterdir()) == []
    assert "unstable" not in "".join(capfd.readouterr())


def test_a_row_that_blows_up_within_a_rollout_goes_on_from_its_last_good_state(hopper):
    env, states, actions = hopper
    fast = states.replace(physics=states.physics.replace(qvel=states.physics.qvel.at[1, 3].set(3e9)))
    after = jax.vmap(env.rollout)(fast, actions)[1]
    stepped = fast
    for step in range(3):
        stepped = programs.step_batch(env, stepped, actions[:, step])
        assert_same(physics_bits(stepped), jax.tree.map(lambda leaf, at=step: leaf[:, at], physics_bits(after)))
    assert after.info["diverged"][1].any()
    assert np.isfinite(after.info["state"]).all()


def test_a_state_that_is_set_is_what_moves(hopper):
    env, states, actions = hopper
    state = row_of(states, 0)
    vector = np.asarray(row_of(states, 3).info["state"])
    fresh = env.reset(jax.random.key(5), options={"state": vector}, values=row_of(states, 3).factors)
    moved = env.set_state(state.replace(factors=fresh.factors, physics=fresh.physics), vector)
    assert_same(physics_bits(env.step(moved, actions[0, 0])), physics_bits(env.step(fresh, actions[0, 0])))
    # A leaf that is written over counts, although the exact state says something else.
    written = state.replace(physics=state.physics.replace(qpos=state.physics.qpos.at[1].add(0.5)))
    higher = env.step(written, actions[0, 0]).info["qpos"][1] - env.step(state, actions[0, 0]).info["qpos"][1]
    assert higher == pytest.approx(0.5, abs=0.1)


def test_gradients_name_the_implementation_that_has_them(hopper):
    env, states, actions = hopper
    with pytest.raises(ValueError, match='impl="c" has no gradients.*use impl="jax"'):
        jax.grad(lambda action: env.step(row_of(states, 0), action).reward)(actions[0, 0])


def test_two_programs_at_once_take_turns(hopper):
    env, states, actions = hopper
    run = jax.jit(jax.vmap(env.rollout))
    expected = physics_bits(run(states, actions)[1])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(lambda: physics_bits(run(states, actions)[1])) for _ in range(6)]
        for job in jobs:
            assert_same(job.result(timeout=120), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": -1}, "threads must be a whole number of at least 0"),
        ({"threads": 10_000}, r"threads must be from 0"),
    ],
)
def test_threads_that_there_are_not(arguments, message):
    with pytest.raises(ValueError, match=message):
        recorded.make("pendulum", impl="c", **arguments)


def test_an_older_mujoco_is_refused_by_its_version(monkeypatch):
    monkeypatch.setattr(mujoco, "__version__", "3.9.1")
    with pytest.raises(ValueError, match=r'impl="c" needs mujoco 3\.17 or later, this is 3\.9\.1'):
        recorded.make("pendulum", impl="c")


def models_of(env, changes):
    """MuJoCo's model with some fields changed, as a row of a batch has it."""
    layout = tuple((name, np.shape(value)) for name, value in changes.items())
    row = np.concatenate([np.ravel(value) for value in changes.values()])
    return Models(env.host).of(layout, row[None])[0]


def seen_of(model, seed, steps=5):
    """What a model makes of a random state: places and contacts, and accelerations and where a few steps lead."""
    rng, data = np.random.default_rng(seed), mujoco.MjData(model)
    data.qpos[:] += rng.normal(0, 1, model.nq)
    data.qvel[:] = rng.normal(0, 1, model.nv)
    data.ctrl[:] = rng.uniform(*model.actuator_ctrlrange.T)
    mujoco.mj_forward(model, data)
    places = [data.geom_xpos, data.geom_xmat, data.site_xpos, data.contact.geom, data.contact.dist]
    places, forces = np.concatenate([part.ravel() for part in places]), data.qacc.copy()
    mujoco.mj_step(model, data, steps)
    return places, [forces, np.concatenate([data.qpos, data.qvel])], data.ncon


FIXED = [
    pytest.param(domain, fixed, marks=[] if (domain, fixed) in QUICK else pytest.mark.slow)
    for domain in recorded.NAMES
    for fixed in (False, True)
]


@pytest.mark.parametrize(("domain", "fixed"), FIXED)
def test_the_models_of_all_factors_are_those_that_the_compiler_makes(domain, fixed):
    """In double precision: what the compiler derives from masses, and where the model moves to."""
    env = recorded.make(domain, impl="c", fixed=fixed)
    lock = getattr(env, "lock", ("",))[0]
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(5), 3)
        # MuJoCo looks at frames anew where it derives constants: one row has the nominal masses.
        locks, nominal = jnp.asarray([0, 1, 0]), jnp.asarray([False, False, True])
        initial = initial_factors(env)

        @jax.jit
        @jax.vmap
        def drawn(key, locked, nominal):
            factors = env.variation_space.draw(key, ("all",), {lock: locked} if lock else {})
            for name in env.compiled.masses.names:
                factors[name] = jnp.where(nominal, initial[name].astype(factors[name].dtype), factors[name])
            return factors, env._fields(factors)

        rows = jax.device_get(drawn(keys, locks, nominal))
    for row in range(len(keys)):
        factors, fields = row_of(rows, row)
        ours, theirs = models_of(env, fields), varied_model(env, factors)
        np.testing.assert_allclose(ours.stat.meaninertia, theirs.stat.meaninertia, rtol=1e-9)
        for name in ("body_mass", "body_invweight0", "dof_invweight0", "dof_M0", "actuator_acc0", "geom_friction"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8, atol=1e-12, err_msg=name)
        touched = 0
        for seed in range(12):
            places, motion, contacts = seen_of(ours, seed)
            their_places, their_motion, _ = seen_of(theirs, seed)
            np.testing.assert_allclose(places, their_places, rtol=1e-9, atol=1e-9)
            # Solvers stop at another iterate where rounding differs.
            for own, other in zip(motion, their_motion, strict=True):
                assert np.abs(own - other).max() < 1e-4 * np.abs(other).max()
            touched += contacts
        assert touched or domain not in TOUCHING


PILE = "".join('<body pos="0 0 .05"><freejoint/><geom size=".1"/></body>' for _ in range(6))
CRAMPED = ARM.replace("<worldbody>", f'<size memory="80K"/><worldbody><geom type="plane" size="1 1 .1"/>{PILE}')


def test_an_error_of_mujoco_ends_its_rows(caplog):
    """Too little memory for the contacts of a pile, which MuJoCo tells by an error and not by a warning."""
    env = MjcfEnv(mjcf=CRAMPED, reward=tip, impl="c")
    state = env.step(env.reset(jax.random.key(0)), jnp.ones(1))
    assert state.info["diverged"]
    assert state.truncated
    assert "MuJoCo raises an error" in caplog.text
