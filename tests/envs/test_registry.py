"""The registry: ids, lazy construction, and mistakes."""

import subprocess
import sys

import pytest
from goal_env import unchecked_types

import envs_mjx
from envs_mjx import registry


@pytest.fixture
def own_registry(monkeypatch):
    """A copy of the registry that the test may change."""
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    monkeypatch.setattr("gymnasium.register", lambda *args, **kwargs: None)


def test_pusht_is_registered():
    assert "swm/PushT-v1" in envs_mjx.registered_ids()
    spec = envs_mjx.spec("swm/PushT-v1")
    assert (spec.entry_point, spec.discrete) == ("envs_mjx.pusht.env:PushT", False)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("PushT", "swm/PushT-v1"),
        ("PushT-v1", "swm/PushT-v1"),
        ("swm/PushT", "swm/PushT-v1"),
        ("swm/PushT-v1", "swm/PushT-v1"),
        ("PushT-Discrete", "swm/PushT-Discrete-v1"),
        ("Pendulum", "mine/Pendulum-v10"),
        ("mine/Pendulum", "mine/Pendulum-v10"),
        ("Pendulum-v9", "mine/Pendulum-v9"),
        ("Ant", "brax/Ant-v1"),
        ("Bare", "Bare"),
        ("any.module:PushT", "swm/PushT-v1"),
        # What there is none of keeps its name, for the message.
        ("other/Thing-v0", "other/Thing-v0"),
        ("Thing", "swm/Thing"),
        ("PushT-v2", "swm/PushT-v2"),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_short_names_stand_for_ids(name, id, monkeypatch):
    for mine in ("mine/Pendulum-v9", "mine/Pendulum-v10", "Bare"):
        envs_mjx.register(mine, "toy_env:PointEnv")
    for other in ("swm/PendulumControl-v1", "swm/PendulumDMControl-v0", "playground/PendulumSwingup-v0"):
        monkeypatch.delitem(registry._SPECS, other)
    monkeypatch.delitem(registry._SPECS, "brax/InvertedPendulum-v1")
    assert envs_mjx.full_id(name) == id
    assert envs_mjx.full_id(id) == id


def test_short_names_of_several_environments_are_refused():
    message = (
        "^environment 'Hopper' may be 'brax/Hopper-v1' or 'playground/HopperHop-v0' or 'playground/HopperStand-v0' "
        "or 'swm/HopperDMControl-v0'; give the whole id$"
    )
    for call in (envs_mjx.full_id, envs_mjx.spec, envs_mjx.make):
        with pytest.raises(ValueError, match=message):
            call("Hopper")
    assert envs_mjx.full_id("brax/Hopper") == "brax/Hopper-v1"
    assert envs_mjx.full_id("HopperDMControl") == "swm/HopperDMControl-v0"


def test_make_takes_short_names():
    assert envs_mjx.make("TwoRoom-v1", render_target=True) == envs_mjx.make("swm/TwoRoom-v1", render_target=True)
    assert envs_mjx.spec("TwoRoom").id == "swm/TwoRoom-v1"
    with pytest.raises(ValueError, match="unknown argument of swm/TwoRoom-v1 'colision'; did you mean 'collision'"):
        envs_mjx.make("TwoRoom", colision="swept")


@pytest.mark.usefixtures("own_registry")
def test_a_module_is_imported_only_for_names_that_the_user_gives(tmp_path, monkeypatch):
    planted = "import envs_mjx\nenvs_mjx.register('mine/Planted-v0', 'toy_env:PointEnv', gain=4.0)\n"
    (tmp_path / "planted_module.py").write_text(planted)
    (tmp_path / "broken_module.py").write_text("import no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    name = "planted_module:Planted-v0"
    for call in (envs_mjx.full_id, envs_mjx.spec):
        with pytest.raises(ValueError, match="no environment 'Planted-v0' of a module 'planted_module' is registered"):
            call(name)
    assert "planted_module" not in sys.modules
    assert envs_mjx.make(name, gain=3.0).gain == 3.0
    monkeypatch.delitem(sys.modules, "planted_module", raising=True)
    assert (envs_mjx.full_id(name), envs_mjx.full_id("Planted")) == ("mine/Planted-v0", "mine/Planted-v0")
    assert envs_mjx.make("mine/Planted").gain == 4.0
    for bad, message in (
        ("no_such_module:Planted-v0", "module 'no_such_module' of environment .* cannot be imported: No module named"),
        ("broken_module:Planted-v0", "module 'broken_module' .* cannot be imported: No module named 'no_such_thing'"),
        ("json:Planted-v1", "module 'json' is imported, but: unknown environment 'swm/Planted-v1'"),
        (":Planted-v0", "module '' of environment ':Planted-v0' cannot be imported"),
    ):
        with pytest.raises(ValueError, match=message):
            envs_mjx.make(bad)


@pytest.mark.parametrize("name", ["swm/PushT-v2", "PushT-v2", "swm/pusht-v1", "pusht"])
def test_unknown_ids_offer_the_nearest(name):
    for call in (envs_mjx.make, envs_mjx.spec):
        with pytest.raises(ValueError, match="did you mean .*'swm/PushT-v1'"):
            call(name)


@pytest.mark.usefixtures("own_registry")
def test_make_merges_arguments_and_is_hashable():
    envs_mjx.register("test/Point-v0", "toy_env:PointEnv", discrete=True, gain=2.0)
    env = envs_mjx.make("test/Point-v0")
    assert env.gain == 2.0
    assert envs_mjx.spec("test/Point-v0").discrete
    assert envs_mjx.make("test/Point-v0", gain=3.0).gain == 3.0
    assert hash(env) == hash(envs_mjx.make("test/Point-v0"))
    with pytest.raises(ValueError, match=r"unknown argument of test/Point-v0 'gian'; did you mean 'gain'"):
        envs_mjx.make("test/Point-v0", gian=3.0)


@pytest.mark.usefixtures("own_registry")
def test_bad_registrations_are_refused():
    with pytest.raises(ValueError, match="already registered"):
        envs_mjx.register("swm/PushT-v1", "toy_env:PointEnv")
    with pytest.raises(ValueError, match="module:Class"):
        envs_mjx.register("test/Broken-v0", "toy_env.PointEnv")


def test_importing_the_package_imports_no_environment():
    code = "import sys, envs_mjx; assert not [m for m in sys.modules if m.startswith('envs_mjx.pusht')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_id_is_text():
    with unchecked_types(), pytest.raises(ValueError, match="an environment is named by its id, .* got 3"):
        envs_mjx.make(3)
