"""Single steps, starts of episodes and pictures against recordings of the reference (dm_control on MuJoCo's C code)."""

import functools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from envs.mujoco import recorded
from envs.mujoco.similarity import ssim
from envs.mujoco.varied import varied_model
from scipy import stats

from envs_mjx.mujoco.render import rendered

DOMAINS = tuple(recorded.NAMES)
# What of a model a picture depends on.
SEEN = ("body_mass", "body_ipos", "body_iquat", "geom_size", "geom_quat")


def shows(state):
    """All positions and velocities, targets too, of a batch of states."""
    return jnp.concatenate([state.physics.qpos, state.physics.qvel, state.physics.target], axis=1)


def both(c, jax):
    """All domains with both implementations; those that are not named only in the slow suite."""
    return [
        pytest.param(name, impl, marks=[] if name in quick else pytest.mark.slow)
        for impl, quick in (("c", c), ("jax", jax))
        for name in DOMAINS
    ]


@pytest.mark.parametrize(("domain", "impl"), both(DOMAINS, ("pendulum", "reacher", "ball_in_cup")))
def test_one_step_in_double_precision(domain, impl):
    """Half of the rows have the nominal model, half have all factors drawn; rewards of all tasks."""
    golden = recorded.golden(domain)
    with jax.enable_x64(True):
        apart = recorded.differences(recorded.make(domain, impl=impl), golden)
    assert sum(name.startswith("reward.") for name in apart) == len(golden["tasks"])
    assert max(apart.values()) < 1e-10, apart


@pytest.mark.parametrize(("domain", "impl"), both(("quadruped",), ("cartpole",)))
def test_one_step_in_single_precision(domain, impl):
    apart = recorded.differences(recorded.make(domain, impl=impl), recorded.golden(domain))
    assert max(apart.values()) < 1e-3, apart


@pytest.mark.parametrize(("domain", "impl"), both(("cartpole", "manipulator"), ("cartpole", "reacher")))
def test_episodes_start_like_the_suites(domain, impl):
    """Kolmogorov-Smirnov on every coordinate; the smallest of all p values is expected to be about 1 / coordinates."""
    golden = recorded.golden(domain)
    env = recorded.make(domain, impl=impl)
    keys = jax.random.split(jax.random.key(3), len(golden["resets"]))
    ours = np.asarray(jax.jit(lambda keys: shows(jax.vmap(env.reset)(keys)))(keys))
    theirs = np.concatenate([golden["resets"], golden["reset_targets"]], axis=1)
    assert ours.shape == theirs.shape
    # Rounding must not tell the two apart where a coordinate is the same in all episodes.
    values = [stats.ks_2samp(a, b).pvalue for a, b in zip(ours.T.round(5), theirs.T.round(5), strict=True)]
    assert min(values) > 0.05 / len(values) / 10, np.round(values, 4)


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_are_the_references(domain):
    """The nominal model, and one with all factors drawn, whose fields are here those of the MJCF compiled in C."""
    golden = recorded.golden(domain)
    env = recorded.make(domain, task=str(golden["tasks"][0]))
    for row, frame in zip((0, -1), golden["frames"], strict=True):
        factors = {name: value[row] for name, value in recorded.factors_of(golden).items()}
        model = varied_model(env, factors)
        fields = {"opt.gravity": model.opt.gravity} | {name: getattr(model, name) for name in SEEN}
        looks = {"fields": fields, "factors": factors, "target": golden["target"][row]}
        qpos = jnp.asarray(golden["qpos"][row], jnp.float32)
        assert_same(drawn(functools.partial(rendered, env, qpos, looks)), frame)


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_of_states_are_the_references(domain):
    """The same, of states that a program has made, drawn from inside a program."""
    golden = recorded.golden(domain)
    env = recorded.make(domain, task=str(golden["tasks"][0]))
    states = recorded.states(env, golden, (0, -1))
    for picture, frame in zip(drawn(lambda: jax.vmap(env.render)(states)), golden["frames"], strict=True):
        assert_same(picture, frame)


def test_similarity_tells_pictures_apart():
    """A picture that is moved by a pixel or has other colours is not the same."""
    frame = recorded.golden("cheetah")["frames"][0]
    assert ssim(frame, frame) == pytest.approx(1)
    assert ssim(frame, np.roll(frame, 1, axis=1)) < 0.98
    assert ssim(frame, recorded.golden("walker")["frames"][0]) < 0.9


def drawn(draw):
    """A picture, where there is OpenGL."""
    try:
        return np.asarray(draw())
    except Exception as error:
        if "needs OpenGL" in str(error):
            pytest.skip("no OpenGL on this machine")
        raise


def assert_same(picture, frame):
    """The same renderer, so nearly the same pixels; a driver may round differently, and so may single precision."""
    assert frame.std() > 10
    assert ssim(picture, frame) > 0.98
    assert (np.abs(picture.astype(int) - frame) > 8).mean() < 0.002


@pytest.mark.parametrize("impl", ["c", "jax"])
def test_fast_is_another_physics_but_a_near_one(impl):
    """Euler steps instead of Runge-Kutta's: away from the recording by more than rounding, but not far."""
    apart = recorded.differences(recorded.make("cartpole", fidelity="fast", impl=impl), recorded.golden("cartpole"))
    assert 1e-5 < apart["qvel"] < 2e-2
    assert apart["qpos"] < 5e-3


@pytest.mark.parametrize("domain", ["reacher", "finger", "manipulator"])
def test_fast_keeps_strong_damping_stable(domain):
    """Damped explicitly, these robots would fly apart, upon which MuJoCo's C code starts anew."""
    model = recorded.make(domain, fidelity="fast", impl="c").host
    data = mujoco.MjData(model)
    data.qvel[:] = start = 1e-3
    mujoco.mj_step(model, data, 20)
    assert data.time == pytest.approx(20 * model.opt.timestep)
    assert np.abs(data.qvel[model.dof_damping > 0]).max() < 2 * start


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["c", "jax"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_all_factors_at_once_stay_finite_and_in_their_spaces(domain, impl):
    env = recorded.make(domain, impl=impl)
    keys = jax.random.split(jax.random.key(9), 4)

    @jax.jit
    @jax.vmap
    def play(key):
        state = env.reset(key, variation=("all",))
        return state, env.step(state, jnp.full(env.action_space.shape, 0.5, jnp.float32))

    start, after = play(keys)
    assert jax.tree.structure(start) == jax.tree.structure(after)
    for leaf in jax.tree.leaves((after.obs, after.info, after.reward)):
        assert np.isfinite(leaf).all()
    assert not after.info["diverged"].any()
    assert (after.reward >= 0).all()
    assert (after.reward <= 2).all()
    for name, value in start.factors.items():
        space = env.variation_space.factor(name)
        assert all(space.contains(np.asarray(one, space.dtype)) for one in value), name
