"""The store of compiled programs behind `.ci/run`."""

import importlib.util
import os
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cache(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    spec = importlib.util.spec_from_file_location("compilation_cache", ROOT / ".ci" / "compilation_cache.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_programs_of_one_check_are_there_for_the_next(cache, tmp_path):
    first, beside = cache.take(tmp_path), cache.take(tmp_path)
    assert names(first) == []
    (first / "a").write_bytes(b"1")
    (beside / "a").write_bytes(b"2")
    (beside / "b").write_bytes(b"3")
    assert names(first) == ["a"]
    cache.keep(tmp_path, first)
    cache.keep(tmp_path, beside)
    assert not first.exists()
    assert not beside.exists()
    after = cache.take(tmp_path)
    assert {path.name: path.read_bytes() for path in after.iterdir()} == {"a": b"1", "b": b"3"}


def test_folders_are_left_behind(cache, tmp_path):
    folder = cache.take(tmp_path)
    (folder / "exported").mkdir()
    (folder / "exported" / "program").write_bytes(b"1")
    (folder / "a").write_bytes(b"1")
    cache.keep(tmp_path, folder)
    assert names(cache.take(tmp_path)) == ["a"]


def test_another_set_of_flags_has_another_store(cache, tmp_path, monkeypatch):
    folder = cache.take(tmp_path)
    (folder / "a").write_bytes(b"1")
    cache.keep(tmp_path, folder)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX")
    assert names(cache.take(tmp_path)) == []


def test_what_was_not_used_for_longest_goes_first(cache, tmp_path):
    folder, now = cache.take(tmp_path), time.time()
    for name, days in {"old": 9, "used": 9, "new": 1}.items():
        (folder / name).write_bytes(bytes(10))
        os.utime(folder / name, (now - 3600 if name == "used" else now - days * cache.DAY, now - days * cache.DAY))
    cache.keep(tmp_path, folder, limit=25)
    assert names(cache.take(tmp_path)) == ["new", "used"]


def test_what_a_killed_check_left_is_not_kept(cache, tmp_path):
    killed, running = cache.take(tmp_path), cache.take(tmp_path)
    (killed / "half written").write_bytes(b"1")
    (running / "a").write_bytes(b"1")
    os.utime(killed, (0, 0))
    cache.keep(tmp_path, cache.take(tmp_path))
    assert not killed.exists()
    assert names(running) == ["a"]
    assert names(cache.take(tmp_path)) == []
