"""The registry: ids, lazy construction, and mistakes."""

import subprocess
import sys

import pytest

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


def test_full_id_adds_the_namespace():
    assert envs_mjx.full_id("PushT-v1") == "swm/PushT-v1"
    assert envs_mjx.full_id("other/Thing-v0") == "other/Thing-v0"


@pytest.mark.parametrize("name", ["swm/PushT-v2", "PushT-v1", "swm/pusht-v1", "pusht"])
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
