"""What all settings share: formats, names of earlier releases, and paths that hold from anywhere."""

from pathlib import Path

import pytest
from goal_env import unchecked_types
from omegaconf import OmegaConf

from swmjax.runs.settings import FORMAT
from swmjax.training import ExpertConfig
from swmjax.world import EvalConfig, load_settings

BASE = {"env": "swm/PushT-v1", "model": "oracle"}


@pytest.fixture(autouse=True)
def as_users():
    with unchecked_types():
        yield


@pytest.fixture
def told():
    return []


@pytest.mark.parametrize("version", [{}, {"format": 1}, {"format": 2}])
def test_formats_up_to_todays_are_read(version, told):
    assert EvalConfig.from_dict(BASE | version, told.append) == EvalConfig(**BASE)
    assert EvalConfig(**BASE).to_dict()["format"] == FORMAT == 2
    assert not told


@pytest.mark.parametrize("kind", [EvalConfig, ExpertConfig])
def test_a_newer_format_is_refused_with_both_numbers(kind):
    with pytest.raises(ValueError, match="have the format 3, this release reads formats up to 2"):
        kind.from_dict(BASE | {"format": 3})
    for version in (0, -1, "2", 1.5, True, None):
        with pytest.raises(ValueError, match="format must be an integer from 1 to 2, got "):
            kind.from_dict(BASE | {"format": version})


def test_an_old_name_is_read_and_the_new_one_told(told):
    config = EvalConfig.from_dict(BASE | {"problems_at_once": None}, told.append)
    assert config.plan_batch_size is None
    assert told == ["setting 'problems_at_once' is called 'plan_batch_size' now"]
    with pytest.warns(FutureWarning, match="'problems_at_once' is called 'plan_batch_size' now"):
        assert EvalConfig.from_dict(BASE | {"problems_at_once": 4}).plan_batch_size == 4
    both = BASE | {"problems_at_once": 4, "plan_batch_size": 4}
    for settings in (both, dict(reversed(both.items()))):
        with pytest.raises(ValueError, match="'problems_at_once' is called 'plan_batch_size' now; give only that"):
            EvalConfig.from_dict(settings, told.append)


def test_the_old_name_in_a_file_and_in_an_assignment(tmp_path, told):
    file = tmp_path / "old.yaml"
    file.write_text(OmegaConf.to_yaml(BASE | {"problems_at_once": 4}))
    assert load_settings(file=file, note=told.append).plan_batch_size == 4
    assert load_settings(file=file, assignments=["plan_batch_size=2"], note=told.append).plan_batch_size == 2
    assert len(told) == 2
    assert load_settings(file=file, assignments=["problems_at_once=3"], note=told.append).plan_batch_size == 3
    assert len(told) == 4


def test_paths_hold_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = EvalConfig(env="PushT-v1", model="./models/x", problems="p.npz", action_stats="../stats.json")
    there = config.from_anywhere()
    assert (there.model, there.problems) == (f"{tmp_path}/models/x", f"{tmp_path}/p.npz")
    assert there.action_stats == f"{tmp_path.parent}/stats.json"
    recorded = EvalConfig(**BASE, protocol={"name": "recorded", "path": "p.npz"})
    assert recorded.from_anywhere().protocol == {"name": "recorded", "path": f"{tmp_path}/p.npz"}
    monkeypatch.chdir("/")
    assert there.from_anywhere() == there


@pytest.mark.parametrize("model", ["oracle", "name", "user/repo", "~/model", "/models/x"])
def test_names_and_paths_that_hold_already_stay(model):
    config = EvalConfig(env="PushT-v1", model=model, problems="~/p.npz", action_stats=str(Path("/stats.json")))
    assert config.from_anywhere() == config
