"""Conversion and merging: round trips over all formats, and datasets that are whole or not there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data_episodes import episode, every_episode_a_group, frames, joined, listed, read, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs_mjx.checks import UserError
from swmjax.data import EPISODE_DATA, Windows, convert, load_dataset, merge, open_dataset
from swmjax.data.formats import get_format
from swmjax.runs.interrupts import Stopped

pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
for _package in ("h5py", "av"):
    pytest.importorskip(_package, reason="needs the extra: pip install 'swmjax[formats]'")

WRITTEN = ("lance", "folder", "hdf5", "video", "lance_video")
GOLDEN = Path(__file__).parents[1] / "golden" / "datasets"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))


def path_of(form, folder, name):
    return folder / f"{name}{get_format(form).suffix}"


def check_columns(form, path, episodes, drift):
    """A dataset holds what was written, in the form in which its format has it."""
    found, lengths = read(form, path)
    assert lengths == [len(one["action"]) for one in episodes]
    for name in episodes[0]:
        given, stored = joined(episodes, name), found[name]
        if name == "pixels":
            assert np.abs(stored.astype(float) - given).mean(axis=(1, 2, 3)).max() <= drift
        elif name == "task":
            assert stored.tolist() == given.tolist()
        elif name in ("count", "seed"):
            assert np.array_equal(stored.reshape(-1), given)  # whole numbers of 64 bits stay what they are
        else:
            np.testing.assert_array_equal(stored.reshape(len(given), -1), _rounded(given, stored.dtype))


def _rounded(given, dtype):
    """Numbers as 32 bits hold them, if that is what a format on the way had."""
    return given.reshape(len(given), -1).astype(np.float32).astype(dtype)


PAIRS = [(first, second) for first in WRITTEN for second in WRITTEN]


@pytest.mark.parametrize(
    ("first", "second"),
    [pair if "lance" in pair else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_round_trips(tmp_path, first, second):
    episodes = [episode(5, 1), episode(3, 2)]
    for one in episodes:
        one["agent"] = one["agent"].astype(np.float32)
    one, other, back = (path_of(form, tmp_path, name) for form, name in ((first, "a"), (second, "b"), (first, "c")))
    write(first, one, episodes)
    copied = convert(one, other, dest_format=second)
    assert (copied.path, copied.format, copied.episodes, copied.rows) == (other, second, 2, 8)
    again = convert(other, back, dest_format=first)
    for form, path in ((second, other), (first, back)):
        check_columns(form, path, episodes, drift=8)
    assert len(again.digest) == 64
    assert {path.name for path in tmp_path.iterdir()} == {one.name, other.name, back.name}


@st.composite
def datasets(draw):
    """Episodes of random columns, as any format may be given."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = {
        "action": lambda n: rng.normal(size=(n, 2)).astype(np.float32),
        "scalar": lambda n: rng.normal(size=n).astype(np.float32),
        "matrix": lambda n: rng.normal(size=(n, 2, 3)).astype(np.float32),
        "flag": lambda n: rng.random(n) < 0.5,
        "whole": lambda n: rng.integers(-(2**62), 2**62, n),
        "small": lambda n: rng.integers(0, 255, n).astype(np.uint8),
        "text": lambda n: [f"text {rng.integers(9)}" for _ in range(n)],
        "keypoints": lambda n: rng.normal(size=(n, 4, 3)).astype(np.float32),
        "depth": lambda n: rng.normal(size=(n, 4, 5, 1)).astype(np.float32),
        "pixels": lambda n: frames(n, int(rng.integers(99))),
    }
    names = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, unique=True))
    return [{name: kinds[name](length) for name in names} for length in lengths]


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(episodes=datasets(), forms=st.lists(st.sampled_from(WRITTEN), min_size=2, max_size=4))
def test_any_episodes_survive_any_way_through_the_formats(tmp_path, episodes, forms):
    folder = tmp_path / f"{time.monotonic_ns()}"
    folder.mkdir()
    path = path_of(forms[0], folder, "0")
    write(forms[0], path, episodes)
    for number, form in enumerate(forms[1:], 1):
        path = convert(path, path_of(form, folder, str(number)), dest_format=form).path
    found, lengths = read(forms[-1], path)
    assert lengths == [len(next(iter(one.values()))) for one in episodes]
    for name in episodes[0]:
        given = (
            joined(episodes, name)
            if name != "text"
            else np.concatenate([np.array(one[name], object) for one in episodes])
        )
        if name == "pixels":
            assert np.abs(found[name].astype(float) - given).mean(axis=(1, 2, 3)).max() <= 12
        elif name == "text":
            assert found[name].tolist() == given.tolist()
        else:
            np.testing.assert_array_equal(found[name].reshape(len(given), -1), given.reshape(len(given), -1))
    shutil.rmtree(folder)


def test_jpeg_files_are_copied_as_they_are(tmp_path):
    write("lance", tmp_path / "a.lance", [episode(3, 1)])
    convert(tmp_path / "a.lance", tmp_path / "b.lance")
    one, other = (open_dataset(tmp_path / name).copied("pixels", np.arange(3)) for name in ("a.lance", "b.lance"))
    assert [bytes(file) for file in one.files] == [bytes(file) for file in other.files]


def test_values_of_episodes_are_copied_where_there_is_a_place_for_them(tmp_path):
    values = [{"mass": 1.5, "name": "a", "shape": [1.0, 2.0]}, {"mass": 2.5, "name": "b", "shape": [3.0]}]
    write("lance", tmp_path / "a.lance", [episode(2, i) | {EPISODE_DATA: one} for i, one in enumerate(values)])
    convert(tmp_path / "a.lance", tmp_path / "b.lance")
    found = load_dataset(tmp_path / "b.lance").get_episode_data()
    assert found["name"] == ["a", "b"]
    assert [shape.tolist() for shape in found["shape"]] == [[1, 2], [3]]
    notes = []
    convert(tmp_path / "a.lance", tmp_path / "c", dest_format="hdf5", note=notes.append)
    assert notes == ["the format hdf5 holds no values of whole episodes, so mass, name, shape are left out"]


def test_what_the_reference_wrote_is_converted(tmp_path):
    convert(GOLDEN / "arrow", tmp_path / "set", dest_format="hdf5")
    old, new = (
        Windows(open_dataset(GOLDEN / "arrow"), 2, 3),
        load_dataset(tmp_path / "set.h5", num_steps=2, frameskip=3),
    )
    for index in range(len(old)):
        for name in old.column_names:
            np.testing.assert_array_equal(old[index][name], new[index][name])


def test_datasets_are_merged_in_their_order(tmp_path):
    episodes = [episode(length, seed) for seed, length in enumerate((4, 2, 3, 5))]
    write("lance", tmp_path / "a.lance", episodes[:2])
    write("hdf5", tmp_path / "b.h5", episodes[2:])
    copied = merge([tmp_path / "a.lance", tmp_path / "b.h5"], tmp_path / "c", source_formats=["lance", None])
    assert (copied.episodes, copied.rows) == (4, 14)
    check_columns(
        "lance", tmp_path / "c.lance", [one | {"agent": one["agent"].astype(np.float32)} for one in episodes], 8
    )
    windows = load_dataset(tmp_path / "c.lance")
    assert windows.get_col_data("episode_idx").tolist() == [0] * 4 + [1] * 2 + [2] * 3 + [3] * 5
    merge([tmp_path / "b.h5", tmp_path / "b.h5"], tmp_path / "c.lance", mode="append")
    assert load_dataset(tmp_path / "c.lance").lengths.tolist() == [4, 2, 3, 5, 3, 5, 3, 5]
    merge([tmp_path / "b.h5", tmp_path / "b.h5"], tmp_path / "c.lance", mode="overwrite")
    assert load_dataset(tmp_path / "c.lance").lengths.tolist() == [3, 5, 3, 5]
    assert listed_top(tmp_path) == ["a.lance", "b.h5", "c.lance"]


def listed_top(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_cannot_be_merged_is_refused_before_anything_is_written(tmp_path):
    write("lance", tmp_path / "a.lance", [episode(3)])
    for name, change in {
        "names": lambda one: one.pop("agent"),
        "kind": lambda one: one.update(agent=["x"] * 3),
        "size": lambda one: one.update(agent=np.zeros((3, 5))),
        "pixels": lambda one: one.update(pixels=frames(3, size=(8, 8))),
    }.items():
        other = episode(3)
        change(other)
        write("lance", tmp_path / f"{name}.lance", [other])
    write("lance", tmp_path / "values.lance", [episode(3) | {EPISODE_DATA: {"mass": 1.0}}])
    before = listed(tmp_path)
    for name, message in (
        ("names", "differ in their columns; only the first has .'agent'., only the other none"),
        ("kind", "agent is float32 .4. in .*, and text in"),
        ("size", "agent is float32 .4. in .*, and float32 .5. in"),
        ("pixels", "pixels is images of 24 x 16 px with 3 channels in .*, and images of 8 x 8 px"),
        ("values", "differ in their values of whole episodes"),
    ):
        with pytest.raises(UserError, match=f"column mismatch: .*{message}"):
            merge([tmp_path / "a.lance", tmp_path / f"{name}.lance"], tmp_path / "out.lance")
    with pytest.raises(UserError, match="at least two datasets are merged, got 1"):
        merge([tmp_path / "a.lance"], tmp_path / "out.lance")
    with pytest.raises(UserError, match="source_formats has 1 names, for 2 datasets"):
        merge([tmp_path / "a.lance"] * 2, tmp_path / "out.lance", source_formats=["lance"])
    assert listed(tmp_path) == before


def test_what_is_there_is_not_touched_unasked(tmp_path):
    write("lance", tmp_path / "a.lance", [episode(3)])
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "page").write_text("precious")
    write("folder", tmp_path / "set", [episode(4)])
    before = listed(tmp_path)
    with pytest.raises(FileExistsError, match="set exists; append to it or overwrite it"):
        convert(tmp_path / "a.lance", tmp_path / "set", dest_format="folder")
    for mode in ("append", "overwrite"):
        with pytest.raises(FileExistsError, match="diary is no dataset; it is not touched"):
            convert(tmp_path / "a.lance", tmp_path / "diary", dest_format="folder", mode=mode)
    for wrong, message in (
        ({"dest_format": "parquet"}, "format must be one of"),
        ({"dest_format": "arrow"}, "datasets in the format arrow can only be read"),
        ({"dest_format": "lance", "colour": 1}, "the format lance knows no option 'colour'"),
        ({"source_format": "hdf5"}, "a.lance"),
    ):
        with pytest.raises(UserError, match=message):
            convert(tmp_path / "a.lance", tmp_path / "new", **wrong)
    with pytest.raises(UserError, match="a.lance: is a source itself"):
        convert(tmp_path / "a.lance", tmp_path / "a.lance", mode="overwrite")
    with pytest.raises(UserError, match="s3://bucket/x.lance: datasets are written to this machine"):
        convert(tmp_path / "a.lance", "s3://bucket/x.lance")
    with pytest.raises(UserError, match="nowhere: is no dataset"):
        convert(tmp_path / "nowhere", tmp_path / "new")
    assert listed(tmp_path) == before


def test_a_damaged_source_leaves_nothing(tmp_path):
    write("folder", tmp_path / "a", [episode(3, seed) for seed in range(3)])
    (tmp_path / "a" / "pixels" / "ep_2_step_1.jpeg").write_bytes(b"no picture")
    before = listed(tmp_path)
    with every_episode_a_group(), pytest.raises(UserError, match="ep_2_step_1.jpeg"):
        convert(tmp_path / "a", tmp_path / "b.lance")
    assert listed(tmp_path) == before


@pytest.mark.parametrize(
    "form", [form if form == "lance" else pytest.param(form, marks=pytest.mark.slow) for form in WRITTEN]
)
@pytest.mark.parametrize("mode", ["error", "overwrite", "append"])
def test_a_conversion_that_was_stopped_goes_on(tmp_path, form, mode, monkeypatch):
    episodes = [episode(3, seed) for seed in range(5)]
    path = path_of(form, tmp_path, "b")
    write("hdf5", tmp_path / "a.h5", episodes)
    old = [] if mode == "error" else [episode(2, 9)]
    if old:
        write(form, path, old)

    def stop(stage, done):
        if stage == "copying" and done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with every_episode_a_group(), pytest.raises(Stopped) as stopped:
        convert(tmp_path / "a.h5", path, dest_format=form, mode=mode, progress=stop)
    assert stopped.value.done == 2
    if mode != "append":
        assert path.exists() == bool(old)
    shown = []
    convert(tmp_path / "a.h5", path, dest_format=form, mode=mode, progress=lambda *each: shown.append(each))
    assert shown[0] == ("copying", 2)
    assert shown[-1] == ("verifying", 5)
    whole = [one | {"agent": one["agent"].astype(np.float32)} for one in (old if mode == "append" else []) + episodes]
    if form not in ("lance", "lance_video"):
        whole = (old if mode == "append" else []) + episodes
    found, lengths = read(form, path)
    assert lengths == [len(one["action"]) for one in whole]
    np.testing.assert_array_equal(found["action"], joined(whole, "action"))
    assert listed_top(tmp_path) == sorted({"a.h5", path.name})


def test_a_new_source_begins_anew(tmp_path):
    write("hdf5", tmp_path / "a.h5", [episode(3, seed) for seed in range(5)])

    def stop(stage, done):
        if stage == "copying" and done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        convert(tmp_path / "a.h5", tmp_path / "b.lance", progress=stop)
    write("hdf5", tmp_path / "a.h5", [episode(4, seed) for seed in range(3)], mode="overwrite")
    convert(tmp_path / "a.h5", tmp_path / "b.lance")
    assert load_dataset(tmp_path / "b.lance").lengths.tolist() == [4, 4, 4]


def test_a_full_disk_keeps_what_was_written(tmp_path, monkeypatch):
    import lance

    write("hdf5", tmp_path / "a.h5", [episode(3, seed) for seed in range(4)])
    real, calls = lance.fragment.write_fragments, []

    def full(*args, **options):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(*args, **options)

    with (
        every_episode_a_group(),
        monkeypatch.context() as patch,
        pytest.raises(OSError, match="No space left") as caught,
    ):
        patch.setattr(lance.fragment, "write_fragments", full)
        convert(tmp_path / "a.h5", tmp_path / "b.lance")
    assert "2 of 4 episodes are kept, and the same call goes on" in str(caught.value)
    assert not (tmp_path / "b.lance").exists()
    shown = []
    convert(tmp_path / "a.h5", tmp_path / "b.lance", progress=lambda *each: shown.append(each))
    assert shown[0] == ("copying", 2)


def test_what_is_not_what_was_copied_does_not_appear(tmp_path, monkeypatch):
    from swmjax.data.formats import LanceWriter

    write("hdf5", tmp_path / "a.h5", [episode(3, seed) for seed in range(2)])
    for name, change in (
        ("action", lambda array: array + 1),
        ("task", lambda array: ["other"] * len(array)),
        ("pixels", lambda array: 255 - np.asarray(array)),
    ):
        real = LanceWriter.write_episode

        def wrong(self, one, name=name, change=change, real=real):
            real(self, {**one, name: change(one[name])})

        with monkeypatch.context() as patch, pytest.raises(UserError, match=f"{name} of episode 0 is"):
            patch.setattr(LanceWriter, "write_episode", wrong)
            convert(tmp_path / "a.h5", tmp_path / "b.lance")
        assert listed_top(tmp_path) == ["a.h5"]


_KILLED = """
import sys
from swmjax.data import convert, merge
from swmjax.data.formats import groups
groups.BYTES = 1
mode, form, dest, *sources = sys.argv[1:]
if len(sources) > 1:
    merge(sources, dest, dest_format=form, mode=mode)
else:
    convert(sources[0], dest, dest_format=form, mode=mode)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("mode", ["error", "overwrite", "append"])
def test_kills_at_random_moments(tmp_path, form, mode):
    """Whatever is at the path is what was there, or that and whole episodes behind it, or the whole of what comes."""
    rng = np.random.default_rng(["error", "overwrite", "append"].index(mode) + 3 * WRITTEN.index(form))
    episodes = [episode(2 + seed % 3, seed) for seed in range(12)]
    write("hdf5", tmp_path / "a.h5", episodes[:5])
    write("lance", tmp_path / "b.lance", episodes[5:])
    old = [] if mode == "error" else [episode(2, 99), episode(4, 98)]
    path = path_of(form, tmp_path, "c")
    coming = [len(one["action"]) for one in episodes]
    kept = [len(one["action"]) for one in old]
    if old:
        write(form, path, old)
    command = [sys.executable, "-c", _KILLED, mode, form, str(path), str(tmp_path / "a.h5"), str(tmp_path / "b.lance")]
    begun = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - begun
    seen = 0
    for _ in range(2):
        for part in get_format(form).parts(path):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        if old:
            write(form, path, old)
        for _attempt in range(3):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                process.wait(rng.uniform(0.3, 1.1) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if path.exists():
                _, lengths = read(form, path)
                if mode == "append":
                    assert lengths[: len(kept)] == kept
                    extra = lengths[len(kept) :]
                    assert extra == (coming * (1 + len(extra) // len(coming)))[: len(extra)]
                else:
                    assert lengths in (kept, coming)
                seen += 1
            if process.returncode == 0:
                break
        if process.returncode != 0 and mode != "append":
            subprocess.run(command, check=True)
        assert [entry for entry in listed_top(tmp_path) if entry.startswith(".") and mode != "append"] == []
    assert seen or mode == "error"


class _Killed(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize("moment", ["before", "between", "after"])
@pytest.mark.parametrize("mode", ["error", "overwrite"])
def test_a_kill_while_a_dataset_is_put_in_its_place_is_made_good(tmp_path, monkeypatch, mode, moment):
    from swmjax.data import convert as function
    from swmjax.runs import files

    module = sys.modules[function.__module__]
    values = {EPISODE_DATA: {"mass": 1.0}}
    write("lance", tmp_path / "a.lance", [episode(3, 1) | values])
    if mode == "overwrite":
        write("lance", tmp_path / "b.lance", [episode(2, 9) | {EPISODE_DATA: {"mass": 9.0}}])
    done = []

    def place(real):
        def moved(new, target):
            if moment == "before" or (moment == "between" and done):
                raise _Killed
            real(new, target)
            done.append(target.name)

        return moved

    def swap(new, target):
        files._exchanged(new, target)  # what was there is not removed any more

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(module, "exchange", place(swap))
        patch.setattr(module.os, "replace", place(os.replace))
        patch.setattr(module, "_place", _then_die(module._place, moment))
        convert(tmp_path / "a.lance", tmp_path / "b.lance", mode=mode)
    copied = convert(tmp_path / "a.lance", tmp_path / "b.lance", mode=mode)
    assert copied.episodes == 1
    assert load_dataset(tmp_path / "b.lance").lengths.tolist() == [3]
    assert load_dataset(tmp_path / "b.lance").get_episode_data() == {"mass": [1.0]}
    assert listed_top(tmp_path) == ["a.lance", "a_episodes.lance", "b.lance", "b_episodes.lance"]


def _then_die(place, moment):
    def placed(*arguments):
        place(*arguments)
        if moment == "after":
            raise _Killed

    return placed
