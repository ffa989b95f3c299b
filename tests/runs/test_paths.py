"""Presets are found where they should be."""

import pytest

from swmjax.runs import paths


@pytest.fixture
def presets(tmp_path, monkeypatch):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "pusht.yaml").write_text("model: oracle\n")
    monkeypatch.setattr(paths, "configs_dir", lambda: tmp_path)
    return tmp_path


def test_a_checkout_has_its_presets():
    assert paths.configs_dir().name == "configs"


@pytest.mark.parametrize("name", ["eval/pusht.yaml", "configs/eval/pusht.yaml"])
def test_presets_are_found_by_name(presets, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "eval")
    assert paths.config_path(name) == presets / "eval" / "pusht.yaml"


def test_a_file_of_the_user_wins(presets, tmp_path, monkeypatch):
    own = tmp_path / "work" / "eval"
    own.mkdir(parents=True)
    (own / "pusht.yaml").write_text("model: other\n")
    monkeypatch.chdir(tmp_path / "work")
    assert paths.config_path("eval/pusht.yaml").read_text() == "model: other\n"
    assert paths.config_path(presets / "eval" / "pusht.yaml").read_text() == "model: oracle\n"


@pytest.mark.usefixtures("presets")
def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="shipped presets: eval/pusht.yaml"):
        paths.config_path("eval/push.yaml")
