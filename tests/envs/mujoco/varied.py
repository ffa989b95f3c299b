"""The nominal specification of an environment with factors of variation written into it, compiled in C."""

import mujoco
import numpy as np

from envs_mjx.mujoco.suite.locks import ARMATURE

ELLIPSOID, BOX = mujoco.mjtGeom.mjGEOM_ELLIPSOID, mujoco.mjtGeom.mjGEOM_BOX


def varied_spec(env, factors, locks=True):
    """The specification with the factors that change the physics.

    Args:
        env: the environment; the factors that only work in its `fixed` variant are written only then.
        factors: values by dotted name.
        locks: whether to lock joints.
    """
    spec = env._spec()
    for factor in env._mass_factors():
        factor.set(spec, float(factors[factor.factor][0]))
    if "gravity.z" in factors:
        spec.option.gravity = [float(factors[f"gravity.{axis}"][0]) for axis in "xyz"]
    if "ball.size" in factors:
        spec.geom("ball").size[0] = float(factors["ball.size"][0])
    if "spinner.friction" in factors:
        spec.joint("hinge").frictionloss = float(factors["spinner.friction"][0])
    if env.domain == "finger" and env.task == "spin":
        spec.joint("hinge").damping = [0.03, 0, 0]
    floor = spec.geom(env.floor)
    if "floor.friction" in factors:
        sliding = float(factors["floor.friction"][0])
        if env.fixed:
            for geom in spec.geoms:
                geom.friction[0] = min(geom.friction[0], sliding)
        floor.friction = [sliding, 0.005, 1e-4]
    if "floor.rotation_y" in factors:
        angle = np.deg2rad(float(factors["floor.rotation_y"][0]))
        floor.alt.zaxis = [np.sin(angle), 0, np.cos(angle)]
        if env.fixed:
            floor.pos = floor.pos[0] * np.asarray([np.cos(angle), 0, -np.sin(angle)])
    if env.fixed:
        _repair(env, spec, factors, locks)
    return spec


def _repair(env, spec, factors, locks):
    if hasattr(env, "lock") and locks and factors[env.lock[0]]:
        spec.joint(env.lock[1]).armature += ARMATURE
    if not factors.get("agent.cart_shape", 1):
        spec.geom("cart").type = ELLIPSOID
    if not factors.get("agent.mass_shape", 1):
        mass = spec.geom("mass")
        mass.type, mass.size = BOX, [mass.size[0]] * 3
    if "agent.upper_arm_length" in factors:
        times = float(factors["agent.upper_arm_length"][0]) / 1000
        spec.geom("upper_arm").fromto[5] *= times
        spec.body("middle_arm").pos[2] *= times


def varied_model(env, factors, locks=True):
    """The compiled model of `varied_spec`, with the total mass that the environment scales its bodies to.

    A locked joint is left out of what the solver measures its errors by.
    """
    model = varied_spec(env, factors, locks).compile()
    if env.total_mass is not None:
        mujoco.mj_setTotalmass(model, env.total_mass)
        mujoco.mj_setConst(model, mujoco.MjData(model))
        model.stat.meaninertia = model.dof_M0.mean()
    if locks and env.fixed and hasattr(env, "lock"):
        model.stat.meaninertia = varied_model(env, factors, locks=False).stat.meaninertia
    return model
