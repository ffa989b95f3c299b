"""Factors of variation: the model that they make is the one that MuJoCo's compiler makes of the changed MJCF."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from envs.mujoco import recorded

INERT = ("pendulum", "acrobot")


def compiled_by_mujoco(env, factors):
    """The nominal specification with the factors written into it, compiled in C."""
    spec = env._spec()
    for factor in env.repaired_masses if env.fixed and env.repaired_masses else env.masses:
        factor.set(spec, float(factors[factor.factor][0]))
    if "ball.size" in factors:
        spec.geom("ball").size[0] = float(factors["ball.size"][0])
    if "spinner.friction" in factors:
        spec.joint("hinge").frictionloss = float(factors["spinner.friction"][0])
    model = spec.compile()
    if env.total_mass is not None:
        mujoco.mj_setTotalmass(model, env.total_mass)
        mujoco.mj_setConst(model, mujoco.MjData(model))
        model.stat.meaninertia = model.dof_M0.mean()
    return model


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
    keys = jax.random.split(jax.random.key(5), 3)
    with jax.enable_x64(True):
        factors = jax.vmap(lambda key: env.variation_space.draw(key, ("all",)))(keys)
        fields = jax.device_get(jax.jit(jax.vmap(env._fields))(factors))
    for row in range(len(keys)):
        model = compiled_by_mujoco(env, {name: np.asarray(value[row]) for name, value in factors.items()})
        found = {name: value[row] for name, value in fields.items()}
        np.testing.assert_allclose(
            tensors(found.pop("body_iquat"), found.pop("body_inertia")),
            tensors(model.body_iquat, model.body_inertia),
            rtol=1e-9,
            atol=1e-12,
        )
        for name in ("geom_friction", "geom_quat", "geom_pos", "opt.gravity"):
            found.pop(name, None)
        for name, value in found.items():
            theirs = model.stat.meaninertia if name == "stat.meaninertia" else getattr(model, name)
            np.testing.assert_allclose(value, theirs, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "domain",
    [
        name if name in ("cartpole", "ball_in_cup", "cheetah") else pytest.param(name, marks=pytest.mark.slow)
        for name in recorded.NAMES
        if name not in INERT
    ],
)
def test_derived_fields_equal_a_recompiled_model(domain):
    assert recorded.make(domain).compiled.masses.names
    check_fields(recorded.make(domain))


def test_inert_densities_change_nothing_unless_repaired():
    for domain in INERT:
        assert recorded.make(domain).compiled.masses.names == ()
        env = recorded.make(domain, fixed=True)
        assert env.compiled.masses.names
        np.testing.assert_allclose(env.compiled.host.body_mass, recorded.make(domain).compiled.host.body_mass)
    check_fields(recorded.make("acrobot", fixed=True))


def test_rows_of_a_batch_have_models_of_their_own():
    env = recorded.make("cartpole")
    start = jnp.asarray([0.0, 3.0, 0.0, 0.0])

    @jax.jit
    @jax.vmap
    def pushed(mass):
        state = env.reset(jax.random.key(0), values={"agent.cart_mass": mass[None]}, options={"state": start})
        return env.step(state, jnp.ones(1)).info["qvel"][0]

    speeds = pushed(jnp.asarray([0.5, 1.0, 1.5]))
    assert speeds[0] > 1.5 * speeds[1] > 1.5 * speeds[2] > 0


def test_repaired_floor_factors():
    env, faithful = recorded.make("walker", fixed=True), recorded.make("walker")
    values = {"floor.rotation_y": jnp.asarray([8.0]), "floor.friction": jnp.asarray([0.2])}
    fields, ours = (
        jax.jit(one._fields)(env.variation_space.draw(jax.random.key(0), (), values)) for one in (env, faithful)
    )
    floor = env.compiled.host.geom("floor").id
    foot = env.compiled.host.geom("left_foot").id
    # The height of the plane under the walker is that of the point at x = 0.
    slope = np.tan(np.deg2rad(8))
    assert fields["geom_pos"][floor, 2] + slope * fields["geom_pos"][floor, 0] == pytest.approx(0, abs=1e-4)
    assert "geom_pos" not in ours
    assert max(fields["geom_friction"][[floor, foot], 0]) == pytest.approx(0.2)
    assert max(ours["geom_friction"][[floor, foot], 0]) == pytest.approx(0.7)
