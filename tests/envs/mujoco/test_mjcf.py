"""A user's own MJCF as an environment."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs_mjx
from envs_mjx.mujoco import MassFactor, MjcfEnv

SWING = """
<mujoco>
  <option timestep="0.01" gravity="0 0 -5"/>
  <worldbody>
    <light pos="0 -2 3" dir="0 1 -1.5"/>
    <body pos="0 0 1">
      <joint name="hinge" axis="0 1 0" damping=".1"/>
      <geom name="rod" type="capsule" fromto="0 0 0 0 0 -.5" size=".02"/>
      <geom name="bob" pos="0 0 -.5" size=".1" mass=".3" rgba=".8 .4 .2 1"/>
    </body>
  </worldbody>
  <actuator> <motor name="push" joint="hinge" ctrlrange="-2 4"/> </actuator>
  <keyframe> <key qpos=".5"/> </keyframe>
</mujoco>
"""
VALUES = {"bob.mass": np.asarray([0.4]), "rod.density": np.asarray([700.0])}


def height(view):
    return view.geom("bob")[2]


def upright(view):
    return view.geom("bob")[2] > 1.2


def make(**kwargs):
    arguments = {"impl": "c", "mjcf": SWING, "reward": height, "success": upright, "substeps": 2, "action_repeat": 3}
    masses = (MassFactor("bob.mass", ("bob",), "mass"), MassFactor("rod.density", ("rod",)))
    return MjcfEnv(**(arguments | {"masses": masses, "time_limit": 4, "resolution": 32} | kwargs))


@pytest.fixture(scope="module", params=["c", "jax"])
def swing(request):
    env = make(impl=request.param)
    return env, jax.jit(lambda key: env.reset(key, values=VALUES)), jax.jit(env.step)


def by_hand(qpos, qvel, ctrl, repeats):
    """Steps of C MuJoCo with the same masses; positions, velocities and the height added up."""
    spec = mujoco.MjSpec.from_string(SWING)
    spec.geom("bob").mass, spec.geom("rod").density = 0.4, 700.0
    model = spec.compile()
    data, total = mujoco.MjData(model), 0.0
    data.qpos[:], data.qvel[:], data.ctrl[:] = qpos, qvel, ctrl
    for _ in range(repeats):
        mujoco.mj_step(model, data, 2)
        mujoco.mj_kinematics(model, data)
        total += data.geom("bob").xpos[2]
    return data.qpos, data.qvel, total


def test_it_moves_as_mujoco_moves_it(swing):
    _, reset, step = swing
    state = reset(jax.random.key(0))
    np.testing.assert_allclose(state.info["state"], [0.5, 0.0])
    after = step(state, jnp.asarray([0.5]))
    qpos, qvel, total = by_hand([0.5], [0.0], -2 + 1.5 / 2 * 6, 3)
    np.testing.assert_allclose(after.info["qpos"], qpos, rtol=1e-5)
    np.testing.assert_allclose(after.info["qvel"], qvel, rtol=1e-4)
    assert after.reward == pytest.approx(total, rel=1e-5)
    np.testing.assert_array_equal(after.obs["observation"], np.concatenate([after.info["qpos"], after.info["qvel"]]))


def test_it_ends_by_success_or_by_time(swing):
    env, reset, step = swing
    state = reset(jax.random.key(0))
    for _ in range(3):
        state = step(state, jnp.zeros(1))
    assert not (state.terminated | state.truncated)
    assert step(state, jnp.zeros(1)).truncated
    assert step(jax.jit(env.set_state)(state, jnp.asarray([3.0, 0.0])), jnp.zeros(1)).terminated


def test_factors_are_gravity_and_masses(swing):
    space = swing[0].variation_space
    assert list(space.names()) == ["gravity.x", "gravity.y", "gravity.z", "bob.mass", "rod.density"]
    assert [float(space.factor(name).init_value[0]) for name in space.names()] == pytest.approx([0, 0, -5, 0.3, 1000])
    assert (space.factor("gravity.z").low[0], space.factor("bob.mass").high[0]) == (-15, pytest.approx(0.45))


def test_it_can_be_drawn_and_registered(swing, monkeypatch):
    env, reset, _ = swing
    # Without cameras a free one sees everything.
    assert env.camera == -1
    picture = np.asarray(env.render(reset(jax.random.key(0))))
    assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
    assert (picture[..., 0].astype(int) - picture[..., 2] > 40).any()
    monkeypatch.setattr(envs_mjx.registry, "_SPECS", {})
    envs_mjx.register("mine/Swing-v0", "envs_mjx.mujoco:MjcfEnv", extra="mujoco", mjcf=SWING, reward=height)
    assert envs_mjx.make("mine/Swing-v0", time_limit=7) == MjcfEnv(mjcf=SWING, reward=height, time_limit=7)


def test_a_file_is_read_with_what_lies_beside_it(tmp_path):
    (tmp_path / "arm.xml").write_text('<mujoco><include file="rest.xml"/></mujoco>')
    (tmp_path / "rest.xml").write_text(SWING.strip())
    assert make(mjcf=tmp_path / "arm.xml").action_space.shape == (1,)


CAN = '<worldbody><geom name="table" type="box" size="1 1 1"/><body><freejoint/>{}</body></worldbody>'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": None}, "needs a reward"),
        ({"mjcf": "nowhere.xml"}, "there is no file 'nowhere.xml'"),
        (
            {"mjcf": "<mujoco><worldbody><gem/></worldbody></mujoco>"},
            "cannot read the MJCF given as text.*'gem', line 1",
        ),
        ({"mjcf": SWING.replace(' ctrlrange="-2 4"', "")}, "actuator 'push' has no ctrlrange"),
        ({"mjcf": "<mujoco/>", "masses": ()}, "no actuator"),
        (
            {
                "mjcf": f"<mujoco>{CAN}</mujoco>".format('<geom name="can" type="cylinder" size=".1 .1"/>'),
                "masses": (),
                "impl": "jax",
            },
            r"'can' \(cylinder\) and 'table' \(box\)",
        ),
        ({"masses": (MassFactor("bob.mass", ("bab",), "mass"),)}, "no geom 'bab'; it has rod, bob"),
        ({"masses": (MassFactor("bob", ("bob",), "mass"),)}, "named group.name"),
        ({"masses": (MassFactor("rod.mass", ("rod",), "mass"),)}, "'rod' has no mass"),
        ({"camera": 1}, "camera must be from -1"),
        ({"substeps": 0}, "substeps must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_run_says_why(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


REFUSED = """
<mujoco>
  <option solver="PGS"/>
  <worldbody>
    <geom name="table" type="box" size="1 1 .1" pos="0 0 -.1"/>
    <body pos="0 0 .3"><freejoint/><geom name="can" type="cylinder" size=".1 .1"/></body>
    <body pos="0 0 1"><joint name="hinge" axis="0 1 0"/><geom size=".05" pos=".2 0 0"/></body>
  </worldbody>
  <actuator> <motor joint="hinge" ctrlrange="-1 1"/> </actuator>
</mujoco>
"""


def can_height(view):
    return view.geom("can")[2]


def test_the_c_library_moves_what_mjx_refuses():
    env = MjcfEnv(mjcf=REFUSED, reward=can_height, substeps=50, impl="c")
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(1))
    model = mujoco.MjModel.from_xml_string(REFUSED)
    data = mujoco.MjData(model)
    # Episodes start in single precision.
    data.qpos[:] = data.qpos.astype(np.float32)
    mujoco.mj_forward(model, data)
    mujoco.mj_step(model, data, 50)
    np.testing.assert_array_equal(np.asarray(state.physics.exact).view(np.float64)[: model.nq], data.qpos)
    with pytest.raises(ValueError, match="solver='PGS'"):
        MjcfEnv(mjcf=REFUSED, reward=can_height, impl="jax")


def forces(view):
    return view.data.efc_force[0]


def test_what_a_batch_does_not_have_is_named():
    env = make(reward=forces)
    with pytest.raises(AttributeError, match=r'impl="c" cannot look at data\.efc_force.*use impl="jax"'):
        env.step(env.reset(jax.random.key(0)), jnp.zeros(1))


def test_a_delay_is_refused_since_its_history_would_be_lost():
    delayed = SWING.replace('<motor name="push"', '<motor name="push" delay="0.05" nsample="8"')
    with pytest.raises(ValueError, match="a delay"):
        make(mjcf=delayed)
