"""Run folders: names that never collide, files that are old or new, and errors that name the file."""

import concurrent.futures
import datetime
import json
import math
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swmjax.runs.files import replacing
from swmjax.runs.folder import RunFolder, create_run_folder, explicit_run_folder
from swmjax.world.rows import EPISODES

NOON = datetime.datetime(2031, 2, 3, 12, 4, 5)
ROW = {
    "episode": 0,
    "seed": 2**40,
    "start": [0.25, -1.5],
    "goal": [1e-9, 3.0],
    "success": True,
    "steps": 17,
    "final_distance": 0.1,
}


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("swm/PushT-v1 cem", "swm-pusht-v1-cem"),
        ("../../etc", "etc"),
        ("***", "run"),
        ("", "run"),
        ("a" * 300, "a" * 80),
    ],
)
def test_folder_is_named_by_time_and_slug(tmp_path, name, slug):
    folder = create_run_folder(tmp_path / "results", name, NOON)
    assert folder == tmp_path / "results" / f"20310203-120405-{slug}"
    assert folder.is_dir()


def test_runs_of_one_second_never_share_a_folder(tmp_path):
    (tmp_path / "20310203-120405-run").write_text("a file in the way")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: create_run_folder(tmp_path, "run", NOON), range(24)))
    assert {folder.name for folder in folders} == {f"20310203-120405-run-{i}" for i in range(2, 26)}


def test_the_clock_names_the_folder(tmp_path):
    before = datetime.datetime.now().replace(microsecond=0)
    stamp = datetime.datetime.strptime(create_run_folder(tmp_path, "x").name, "%Y%m%d-%H%M%S-x")
    assert before <= stamp <= datetime.datetime.now()


def test_explicit_folder_may_be_new_or_empty(tmp_path):
    path = tmp_path / "deep" / "er"
    assert explicit_run_folder(path) == path
    assert explicit_run_folder(path) == path
    (path / "results.json").write_text("{}")
    with pytest.raises(FileExistsError, match="er is not empty; give --output a new or an empty folder"):
        explicit_run_folder(path)
    with pytest.raises(FileExistsError, match="results.json is a file; give --output"):
        explicit_run_folder(path / "results.json")


def test_config_keeps_order_and_values(run):
    config = {
        "zeta": {"solver": "cem", "set": ["solver.num_samples=1000", "a: b"]},
        "alpha": 1e-5,
        "no": None,
        "text": ["1e5", "007", "yes", "${name}", "", "two\nlines", "ä"],
        "count": 3,
        "flag": False,
        "endless": math.inf,
    }
    run.write_config(config)
    assert run.read_config() == config
    text = (run.path / "config.yaml").read_text(encoding="utf-8")
    assert text.startswith("zeta:\n  solver: cem\n  set:\n  - solver.num_samples=1000\n")
    assert list(run.read_config()) == list(config)


def test_arrays_tuples_and_paths_become_plain(run):
    run.write_config({"a": np.float32(0.5), "b": jnp.arange(2), "c": (1, Path("x/y")), 4: True})
    assert run.read_config() == {"a": 0.5, "b": [0, 1], "c": [1, "x/y"], "4": True}


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text("abc:#-'\"0.e\n \\é", max_size=9),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_config_comes_back(tmp_path_factory, config):
    run = RunFolder(tmp_path_factory.getbasetemp())
    run.write_config(config)
    assert run.read_config() == config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": {"b": [object()]}}, "config.a.b[0] is a object"),
        ({"a": b"bytes"}, "config.a is a bytes"),
        ({"a": "${"}, "config cannot be written: "),
    ],
)
def test_config_without_a_form_is_refused(run, config, message):
    with pytest.raises(ValueError) as caught:
        run.write_config(config)
    assert str(caught.value).startswith(message)
    assert not list(run.path.iterdir())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no settings in it"),
        (b"garbage", "no settings in it"),
        (b"5", "no settings in it"),
        (b"- a: 1", "no settings in it"),
        (b"a: [1", "did not find expected"),
        (b"a: \xff", "invalid start byte"),
        (b"a: 1\na: 2", "duplicate key a"),
        (b"a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (None, "config.yaml is missing"),
    ],
)
def test_damaged_config_is_one_clear_line(run, content, problem):
    if content is not None:
        (run.path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        run.read_config()
    message = str(caught.value)
    assert message.startswith(str(run.path / "config.yaml"))
    assert problem in message
    assert message.endswith("; expected the YAML mapping of settings that a run writes")
    assert "\n" not in message


def test_results_are_json_of_every_reader(run):
    run.write_results(
        {"rate": np.float32(0.5), "latency": {"p95": math.nan, "all": [1.0, -math.inf]}, "n": jnp.int32(3)}
    )
    text = (run.path / "results.json").read_text()
    assert json.loads(text) == {"rate": 0.5, "latency": {"p95": None, "all": [1.0, None]}, "n": 3}
    assert text.startswith('{\n  "rate": 0.5,\n')
    assert text.endswith("}\n")


WRITES = {
    "config.yaml": lambda run, value: run.write_config({"value": value}),
    "results.json": lambda run, value: run.write_results({"value": value}),
    "episodes.parquet": lambda run, value: EPISODES.write(run.path, [ROW | {"steps": value}]),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_dies_leaves_the_old_file(run, monkeypatch, name, error):
    WRITES[name](run, 1)
    old = (run.path / name).read_bytes()

    def die(source, target):
        assert Path(source).parent == run.path  # a rename is atomic only within a file system
        raise error

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(type(error)):
        WRITES[name](run, 2)
    assert [path.name for path in run.path.iterdir()] == [name]
    assert (run.path / name).read_bytes() == old
    monkeypatch.undo()
    WRITES[name](run, 2)
    assert (run.path / name).read_bytes() != old


def test_errors_of_the_file_system_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError):
        RunFolder(tmp_path / "gone").write_results({})
    (tmp_path / "results.json").mkdir()
    with pytest.raises(OSError):
        RunFolder(tmp_path).write_results({})
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_temporary_file_is_hidden_and_keeps_the_suffix(tmp_path):
    with replacing(tmp_path / "video.mp4") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".video")
        assert temporary.suffix == ".mp4"
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
