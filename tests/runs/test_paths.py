"""Presets and the compilation cache are found where they should be."""

import os
import subprocess
import sys

import jax
import pytest

from swmjax.runs import compilation_cache, paths


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


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is set through XDG_CACHE_HOME")
def test_the_compilation_cache_is_in_the_users_cache_folder(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_PLATFORMS": "cpu",
    }
    code = (
        "from swmjax.runs import compilation_cache as c; c.enable(); import jax; "
        "print(jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "swmjax" / "jax"), "0.5"]


def test_a_cache_that_the_user_chose_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/chosen")
    compilation_cache.enable(tmp_path / "other")
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/chosen"
    assert not (tmp_path / "other").exists()


def test_a_running_jax_with_a_cache_keeps_it(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    compilation_cache.enable(tmp_path / "jax")
    assert jax.config.jax_compilation_cache_dir == before


def test_a_folder_that_cannot_be_made_leaves_the_cache_off(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    compilation_cache.enable(tmp_path / "file" / "jax")
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
