"""Factors of variation: the model that they make is the one that MuJoCo's compiler makes of the changed MJCF."""

import functools
import itertools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from envs.mujoco import recorded
from envs.mujoco.varied import varied_model

from envs_mjx import spaces
from envs_mjx.mujoco import render

INERT = ("pendulum", "acrobot")
LOCKED = ("acrobot", "reacher", "cheetah", "hopper", "walker", "humanoid", "quadruped")


def slow(*values):
    """A case for the slow suite."""
    return pytest.param(*values, marks=pytest.mark.slow)


def tensors(quats, diagonals):
    """Inertias in the frames of the bodies, which do not depend on how principal axes are ordered."""
    found = []
    for quat, diagonal in zip(np.asarray(quats, np.float64), np.asarray(diagonals, np.float64), strict=True):
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, quat)
        turn = turn.reshape(3, 3)
        found.append(turn @ np.diag(diagonal) @ turn.T)
    return np.stack(found)


def check_fields(env):
    """All fields of three rows with all factors drawn, of which one has a locked joint where there is one."""
    keys = jax.random.split(jax.random.key(5), 3)
    lock = getattr(env, "lock", ("",))[0]

    def fields_of(key, locked):
        factors = env.variation_space.draw(key, ("all",), {lock: locked} if lock else {})
        return factors, env._fields(factors)

    with jax.enable_x64(True):
        factors, fields = jax.device_get(jax.jit(jax.vmap(fields_of))(keys, jnp.asarray([0, 1, 0])))
    for row in range(len(keys)):
        values = {name: value[row] for name, value in factors.items()}
        model = varied_model(env, values)
        found = {name: value[row] for name, value in fields.items()}
        np.testing.assert_allclose(
            tensors(found.pop("body_iquat"), found.pop("body_inertia")),
            tensors(model.body_iquat, model.body_inertia),
            rtol=1e-9,
            atol=1e-12,
        )
        for name, value in found.items():
            theirs = functools.reduce(getattr, name.split("."), model)
            np.testing.assert_allclose(value, theirs, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("domain", "fixed"),
    [
        pair if pair in (("cartpole", True), ("ball_in_cup", False), ("cheetah", True)) else slow(*pair)
        for pair in itertools.product(recorded.NAMES, (False, True))
        if pair not in ((domain, False) for domain in INERT)
    ],
)
def test_derived_fields_equal_a_recompiled_model(domain, fixed):
    env = recorded.make(domain, fixed=fixed, impl="jax")
    assert env.compiled.masses.names
    check_fields(env)


def test_inert_densities_change_nothing_unless_repaired():
    for domain in INERT:
        faithful, env = (recorded.make(domain, fixed=fixed, impl="c") for fixed in (False, True))
        assert faithful.compiled.masses.names == ()
        assert env.compiled.masses.names
        np.testing.assert_allclose(env.host.body_mass, faithful.host.body_mass)
    check_fields(recorded.make("pendulum", fixed=True, impl="jax"))


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(
    "domain", [name if name in ("pendulum", "ball_in_cup") else slow(name) for name in recorded.NAMES]
)
def test_factors_do_something_unless_they_are_marked(domain, fixed):
    """One factor after another takes another value: the model changes, or else the picture."""
    env = recorded.make(domain, fixed=fixed, resolution=112, impl="c")
    names = env.variation_space.names()
    shown = {"rendering.render_target": 1} if "rendering.render_target" in names else {}
    base = {name: np.asarray(shown.get(name, env.variation_space.factor(name).init_value)) for name in names}
    rows = [base | {name: other_value(env.variation_space.factor(name), base[name])} for name in names]
    stacked = {name: jnp.asarray(np.stack([row[name] for row in (base, *rows)])) for name in names}
    fields = jax.device_get(jax.jit(jax.vmap(env._fields))(stacked))
    # Nothing is in front of the target, and a place for it that is in the picture.
    target = np.asarray({2: (0.1, 0.3), 7: (0.2, 0.001, 0.3, 1, 0, 0, 0)}.get(env.target_size, ()), np.float32)

    def picture(row):
        looks = {
            "fields": {name: value[row] for name, value in fields.items()},
            "factors": {name: np.asarray(value[row]) for name, value in stacked.items()},
            "target": target,
        }
        return drawn(env, looks).astype(int)

    nominal, inert = picture(0), []
    for row, name in enumerate(names, start=1):
        changed = [key for key, value in fields.items() if np.abs(value[row] - value[0]).max() > 1e-6]
        if name == "floor.friction":
            friction, floor = fields["geom_friction"][row][:, 0], env.host.geom(env.floor).id
            assert friction[floor] == pytest.approx(float(rows[row - 1][name][0]))
            # Contacts have the larger of two frictions, and this factor is at most 1.
            others = np.delete(friction, floor)[np.delete(env.host.geom_contype, floor) > 0]
            inert += [name] * bool(others.min() >= 1)
        elif not changed and (np.abs(picture(row) - nominal) > 8).mean() < 3e-4:
            inert.append(name)
    assert sorted(inert) == sorted(env.inert_factors)
    assert bool(inert) <= (not fixed)


def other_value(space, value):
    """A value of a factor that is far from another one."""
    if isinstance(space, spaces.Discrete):
        return np.asarray(1 - value)
    low, high = np.asarray(space.low), np.asarray(space.high)
    return np.where(value - low > high - value, low + 0.1 * (high - low), high - 0.1 * (high - low)).astype(space.dtype)


def drawn(env, looks):
    """The picture at the reference position."""
    try:
        return np.asarray(render.rendered(env, jnp.asarray(env.compiled.host.qpos0, jnp.float32), looks))
    except Exception as error:
        if "needs OpenGL" in str(error):
            pytest.skip("no OpenGL on this machine")
        raise


@pytest.mark.parametrize(
    ("domain", "impl"),
    [
        ("reacher", "c"),
        *(slow(name, "c") for name in LOCKED if name != "reacher"),
        *(slow(name, "jax") for name in LOCKED),
    ],
)
def test_locked_joints_keep_their_angle(domain, impl):
    """Over an episode with the motors at full power, which move the joint when it is free."""
    env = recorded.make(domain, fixed=True, impl=impl)
    factor, joint = env.lock
    assert env.variation_space.factor(factor).init_value == 0
    found = env.compiled.host.joint(joint)
    angle, speed = int(found.qposadr[0]), int(found.dofadr[0])

    @jax.jit
    @jax.vmap
    def play(key, locked, push):
        start = env.reset(key, values={factor: locked})
        moving = jnp.concatenate([start.physics.qpos, jnp.ones(env.compiled.host.nv)])
        moved = env.set_state(start, moving)

        def step(state, _):
            state = env.step(state, push * jnp.ones(env.action_space.shape, jnp.float32))
            return state, (state.physics.qpos[angle] - start.physics.qpos[angle], state.info["diverged"])

        return moved.physics.qvel[speed], jax.lax.scan(step, moved, None, env.time_limit)[1]

    rows = jnp.asarray([1, 1, 0]), jnp.asarray([1.0, -1.0, 1.0])
    speeds, (drift, diverged) = play(jax.random.split(jax.random.key(0), 3), *rows)
    assert speeds.tolist() == [0, 0, 1]
    assert not diverged.any()
    drift = np.abs(drift).max(1)
    assert drift[:2].max() < 1e-3
    assert drift[2] > 0.1


def test_locks_do_nothing_in_the_faithful_variant():
    for domain in LOCKED:
        env = recorded.make(domain, impl="c")
        assert env.variation_space.factor(env.lock[0]).init_value == 1
        factors = {
            name: jnp.asarray(env.variation_space.factor(name).init_value) for name in env.variation_space.names()
        }
        assert "dof_armature" not in env._more_fields(env.compiled.fields, factors)


@pytest.mark.parametrize("impl", ["c", "jax"])
def test_rows_of_a_batch_have_models_of_their_own(impl):
    env = recorded.make("cartpole", impl=impl)
    start = jnp.asarray([0.0, 3.0, 0.0, 0.0])

    @jax.jit
    @jax.vmap
    def pushed(mass):
        state = env.reset(jax.random.key(0), values={"agent.cart_mass": mass[None]}, options={"state": start})
        return env.step(state, jnp.ones(1)).info["qvel"][0]

    speeds = pushed(jnp.asarray([0.5, 1.0, 1.5]))
    assert speeds[0] > 1.5 * speeds[1] > 1.5 * speeds[2] > 0


def test_repaired_floor_factors():
    env, faithful = recorded.make("walker", fixed=True, impl="c"), recorded.make("walker", impl="c")
    values = {"floor.rotation_y": jnp.asarray([8.0]), "floor.friction": jnp.asarray([0.2])}
    factors = env.variation_space.draw(jax.random.key(0), (), values)
    fields, ours = (one._edited(one.compiled.fields, factors) for one in (env, faithful))
    floor = env.compiled.host.geom("floor").id
    foot = env.compiled.host.geom("left_foot").id
    # The height of the plane under the walker is that of the point at x = 0.
    slope = np.tan(np.deg2rad(8))
    assert fields["geom_pos"][floor, 2] + slope * fields["geom_pos"][floor, 0] == pytest.approx(0, abs=1e-4)
    assert "geom_pos" not in ours
    assert max(fields["geom_friction"][[floor, foot], 0]) == pytest.approx(0.2)
    assert max(ours["geom_friction"][[floor, foot], 0]) == pytest.approx(0.7)
