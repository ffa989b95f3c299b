"""The compilation cache: where it lies, and when it is left alone."""

import os
import subprocess
import sys

import jax
import pytest

import swmjax


def output_of(code, tmp_path):
    """What a program prints for a user without any settings of JAX."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is set through XDG_CACHE_HOME")
def test_the_compilation_cache_is_in_the_users_cache_folder(tmp_path):
    code = (
        "import sys, swmjax; swmjax.enable_compilation_cache(); assert 'jax' not in sys.modules; import jax; "
        "print(jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs)"
    )
    assert output_of(code, tmp_path) == [str(tmp_path / "swmjax" / "jax"), "0.0"]


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is set through XDG_CACHE_HOME")
def test_a_notebook_that_has_compiled_already_can_still_switch_it_on(tmp_path):
    code = (
        "import jax, swmjax; double = jax.jit(lambda x: 2 * x); double(1.0); swmjax.enable_compilation_cache(); "
        "double(jax.numpy.ones(3))"
    )
    output_of(code, tmp_path)
    assert any("lambda" in path.name for path in (tmp_path / "swmjax" / "jax").iterdir())


def test_a_cache_that_the_user_chose_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/chosen")
    swmjax.enable_compilation_cache(tmp_path / "other")
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/chosen"
    assert not (tmp_path / "other").exists()


def test_a_running_jax_with_a_cache_keeps_it(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    swmjax.enable_compilation_cache(tmp_path / "jax")
    assert jax.config.jax_compilation_cache_dir == before


def test_a_folder_that_cannot_be_made_leaves_the_cache_off(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    swmjax.enable_compilation_cache(tmp_path / "file" / "jax")
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
