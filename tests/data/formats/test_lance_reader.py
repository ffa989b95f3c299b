"""The Lance reader: the reference's windows, values of episodes that belong to what is read, and clear refusals."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from data_arrays import npz
from reference import run_reference

from envs_mjx.checks import UserError
from swmjax.data import LanceWriter, Windows, decode_jpeg, encode_jpeg
from swmjax.data.formats import EPISODE_DATA, LanceReader, detect_format, get_format

lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")

GOLDEN = Path(__file__).parents[2] / "golden" / "datasets"


def episode(length, seed=0, **values):
    rng = np.random.default_rng(seed)
    return {
        "pixels": rng.integers(0, 255, (length, 8, 6, 3), np.uint8),
        "pose": rng.normal(size=(length, 2, 2)),
        "done": rng.random(length) < 0.5,
        "label": rng.integers(2**60, 2**62, length),
        "task": [f"task {i}" for i in range(length)],
        "action": rng.normal(size=(length, 3)).astype(np.float32),
        **({EPISODE_DATA: values} if values else {}),
    }


def write(path, episodes, mode="error"):
    with LanceWriter(path, mode) as writer:
        writer.write_episodes(episodes)


def test_windows_of_what_the_reference_wrote_are_the_reference_s():
    windows = Windows(LanceReader(GOLDEN / "pusht_weak.lance"), 4, 5)
    expected = npz(GOLDEN / "window7_lance.npz")
    assert len(windows) == 264
    window = windows[7]
    assert list(window) == list(expected)
    for name in expected:
        assert window[name].dtype == expected[name].dtype
        if expected[name].dtype == np.uint8:
            assert np.abs(window[name].astype(int) - expected[name]).max() <= 2
        else:
            np.testing.assert_array_equal(window[name], expected[name])


def test_rows_are_those_that_were_written(tmp_path):
    path = tmp_path / "set.lance"
    episodes = [episode(5, 1), episode(3, 2)]
    write(path, episodes)
    reader = LanceReader(path)
    assert reader.lengths.tolist() == [5, 3]
    assert reader.offsets.tolist() == [0, 5]
    kinds = {name: (column.kind, column.shape, column.dtype) for name, column in reader.columns.items()}
    assert kinds == {
        "pixels": ("image", (8, 6, 3), np.uint8),
        "pose": ("number", (4,), np.float32),
        "done": ("number", (1,), np.float32),
        "label": ("number", (), np.int64),
        "task": ("text", (), object),
        "action": ("number", (3,), np.float32),
    }
    rows = np.array([6, 0, 6, 4])
    given = {name: np.concatenate([np.asarray(one[name]) for one in episodes])[rows] for name in episodes[0]}
    out = {name: np.empty((4, *column.shape), column.dtype) for name, column in reader.columns.items()}
    for read in (reader.read(list(kinds), rows), reader.read(list(kinds), rows, out)):
        frames = [decode_jpeg(encode_jpeg(frame)) for frame in given["pixels"]]
        np.testing.assert_array_equal(read["pixels"], frames)
        np.testing.assert_array_equal(read["pose"], given["pose"].reshape(4, 4).astype(np.float32))
        np.testing.assert_array_equal(read["done"], given["done"][:, None])
        for name in ("label", "action"):
            np.testing.assert_array_equal(read[name], given[name])
        assert read["task"].tolist() == given["task"].tolist()
    assert all(read[name] is out[name] for name in out)
    assert {name: len(column) for name, column in reader.read(list(kinds), rows[:0]).items()} == dict.fromkeys(kinds, 0)


def test_a_reader_sees_what_was_there_when_it_was_made_in_other_processes_too(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(4, mass=1.5)])
    reader = LanceReader(path)
    write(path, [episode(2, 7, mass=2.5)], "append")
    copy = pickle.loads(pickle.dumps(reader))
    for each in (reader, copy):
        assert each.lengths.tolist() == [4]
        assert each.episode_data() == {"mass": [1.5]}
        assert len(each.read(["label"], np.arange(4))["label"]) == 4
    assert LanceReader(path).lengths.tolist() == [4, 2]


VALUES = {"name": "grün", "blob": b"\0\1", "known": True, "count": 3, "mass": 0.1, "shape": [1.0, 2.0]}


def test_values_of_episodes_keep_their_kinds(tmp_path):
    path = tmp_path / "set.lance"
    other = VALUES | {
        "name": "",
        "count": np.int32(-1),
        "shape": np.ones((2, 2)),
        "mass": np.float64(2),
        "known": False,
    }
    write(path, [episode(2, **VALUES), episode(3, **other)])
    reader = LanceReader(path)
    assert reader.episode_columns == tuple(sorted(VALUES))
    found = reader.episode_data([1, 0, 1])
    assert [found[name] for name in ("name", "known", "count", "mass")] == [
        ["", "grün", ""], [False, True, False], [-1, 3, -1], [2.0, 0.1, 2.0]
    ]  # fmt: skip
    assert found["blob"] == [b"\0\1"] * 3
    assert [shape.tolist() for shape in found["shape"]] == [[1] * 4, [1, 2], [1] * 4]
    assert found["shape"][0].dtype == np.float32
    schema = lance.dataset(str(tmp_path / "set_episodes.lance")).schema
    assert schema.names == ["episode_idx", *sorted(VALUES)]
    assert schema.types == [
        pa.int32(), pa.large_binary(), pa.int64(), pa.bool_(), pa.float64(), pa.string(), pa.list_(pa.float32())
    ]  # fmt: skip
    assert pickle.loads(pickle.dumps(reader)).episode_data([1])["name"] == [""]


def test_values_of_episodes_are_appended_and_replaced_with_their_steps(tmp_path):
    path, side = tmp_path / "set.lance", tmp_path / "set_episodes.lance"
    write(path, [episode(2, mass=1.0)])
    write(path, [episode(2, mass=2.0), episode(2, mass=3.0)], "append")
    assert LanceReader(path).episode_data() == {"mass": [1, 2, 3]}
    with pytest.raises(UserError, match=r"have data of their own named \['mass'\], got \[\]"):
        write(path, [episode(2)], "append")
    with pytest.raises(UserError, match="mass of an episode is double, got string"):
        write(path, [episode(2, mass="heavy")], "append")
    write(path, [episode(2, mass="heavy")], "overwrite")
    assert LanceReader(path).episode_data() == {"mass": ["heavy"]}
    assert len(list((side / "data").iterdir())) == 1
    write(path, [episode(2)], "overwrite")
    assert not side.exists()
    assert LanceReader(path).episode_columns == ()
    with pytest.raises(UserError, match="got .'mass'.; a dataset that has none must be written anew"):
        write(path, [episode(2, mass=1.0)], "append")
    write(path, [episode(2, mass=1.0)], "overwrite")
    assert LanceReader(path).episode_data() == {"mass": [1]}
    for wrong, message in ((None, "NoneType"), ({}, "dict"), (1j, "complex")):
        with pytest.raises(UserError, match=f"mass of an episode is {message}"):
            write(tmp_path / "new.lance", [episode(2, mass=wrong)])
    assert not (tmp_path / "new.lance").exists()


class _Killed(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize(
    ("mode", "values"),
    [("error", {}), ("append", {"mass": 1.0}), ("overwrite", {"mass": 1.0}), ("overwrite", {})],
)
def test_a_kill_between_the_commits_of_episodes_and_of_steps_loses_nothing(tmp_path, monkeypatch, mode, values):
    path = tmp_path / "set.lance"
    if mode != "error":
        write(path, [episode(2, **values), episode(2, **values)])
    real, calls = lance.LanceDataset.commit, []

    def kill(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise _Killed
        return real(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(lance.LanceDataset, "commit", kill)
        patch.setattr(shutil, "rmtree", lambda *args, **options: None)
        write(path, [episode(3, mass=5.0)], mode)
    if mode == "error":
        with pytest.raises(UserError, match="there is no such dataset"):
            LanceReader(path)
    else:
        reader = LanceReader(path)
        assert reader.lengths.tolist() == [2, 2]
        assert reader.episode_data() == ({"mass": [1, 1]} if values else {})
    if mode == "overwrite" and not values:
        write(path, [episode(1)], "append")
        assert LanceReader(path).episode_data() == {}
        return
    write(path, [episode(1, mass=7.0)], "append")
    kept = [] if mode == "error" else [1, 1]
    assert LanceReader(path).episode_data() == {"mass": [*kept, 7]}
    assert lance.dataset(str(tmp_path / "set_episodes.lance")).count_rows() == len(kept) + 1


def test_a_dataset_can_be_what_it_was(tmp_path):
    path = tmp_path / "set.lance"
    for count in range(3):
        write(path, [episode(count + 1, mass=float(count))], "append")
    form = get_format("lance")
    versions = form.versions(path)
    assert [(one.number, one.episodes, one.rows) for one in versions] == [(1, 1, 1), (2, 2, 3), (3, 3, 6)]
    form.restore(path, 1)
    assert LanceReader(path).episode_data() == {"mass": [0]}
    form.restore(path, 3)
    assert LanceReader(path).episode_data() == {"mass": [0, 1, 2]}
    form.restore(path, 2)
    write(path, [episode(2, mass=9.0)], "append")
    reader = LanceReader(path)
    assert reader.lengths.tolist() == [1, 2, 2]
    assert reader.episode_data() == {"mass": [0, 1, 9]}
    with pytest.raises(UserError, match="there is no version 17; there are 1, 2, 3, 4"):
        form.restore(path, 17)
    with pytest.raises(UserError, match="there is no Lance dataset"):
        form.versions(tmp_path / "other.lance")


def test_datasets_are_recognised_and_found_in_folders(tmp_path):
    form = get_format("lance")
    write(tmp_path / "one" / "set.lance", [episode(2, mass=1.0)])
    for path in ("a.lance", "s3://bucket/a.LANCE/", tmp_path / "one", tmp_path / "one" / "set.lance"):
        assert detect_format(path) is form
    for path in ("a.h5", tmp_path, ".lance", tmp_path / "nowhere", "s3://bucket/one"):
        assert not form.detect(path)
    assert LanceReader(tmp_path / "one").path == str(tmp_path / "one" / "set.lance")
    write(tmp_path / "one" / "more.lance", [episode(3)])
    with pytest.raises(UserError, match=r"it holds several of them: more.lance, set.lance"):
        LanceReader(tmp_path / "one")
    assert LanceReader(tmp_path / "one", "more").lengths.tolist() == [3]
    (tmp_path / "one" / "set_videos.lance").mkdir()
    assert not form.detect(tmp_path / "one")
    with pytest.raises(UserError, match="it holds none"):
        LanceReader(tmp_path)


def _table(path, **columns):
    columns = {"episode_idx": [0, 0, 1], "step_idx": [0, 1, 0], "x": [1.0, 2.0, 3.0]} | columns
    lance.write_dataset(pa.table({name: each for name, each in columns.items() if each is not None}), str(path))
    return path


def test_what_is_no_dataset_of_episodes_is_refused(tmp_path):
    for number, (columns, message) in enumerate(
        (
            ({"episode_idx": None}, "has no columns episode_idx and step_idx"),
            ({"x": None}, "has no columns but those that number its rows"),
            ({"episode_idx": [0, 1, 0]}, "episode_idx decreases"),
            ({"x": [{"a": 1}] * 3}, "column x is struct<a: int64>, which holds no numbers, images or texts"),
            ({"x": [b"no picture"] * 3}, "row 0 of x holds something that is no picture"),
            ({"x": pa.array([None] * 3, pa.binary())}, "row 0 of x holds something that is no picture"),
        )
    ):
        with pytest.raises(UserError, match=message):
            LanceReader(_table(tmp_path / f"{number}.lance", **columns))
    reader = LanceReader(_table(tmp_path / "null.lance", x=[1.0, None, 3.0]))
    assert reader.read(["x"], np.array([2, 0]))["x"].tolist() == [3, 1]
    with pytest.raises(UserError, match="row 1 of x has no value"):
        reader.read(["x"], np.array([2, 1]))
    pictures = [encode_jpeg(np.zeros((4, height, 3), np.uint8)) for height in (4, 4, 5)]
    reader = LanceReader(_table(tmp_path / "sizes.lance", x=pictures))
    with pytest.raises(UserError, match="row 2 of x is a picture of 4 x 5 px; expected are 4 x 4 px"):
        reader.read(["x"], np.array([1, 2]))
    with pytest.raises(UserError, match="there is no such dataset"):
        LanceReader(tmp_path / "nowhere.lance")
    (tmp_path / "empty.lance").mkdir()
    with pytest.raises(UserError, match=r"empty.lance: cannot be read"):
        LanceReader(tmp_path / "empty.lance")
    with pytest.raises(UserError, match="the format lance knows no option 'tabel'"):
        get_format("lance").reader(tmp_path / "null.lance", tabel="x")


def test_columns_of_other_kinds_of_numbers_are_read(tmp_path):
    pairs = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6.0)), 2)
    path = _table(tmp_path / "set.lance", x=pa.array([1, 2, 3], pa.uint8()), y=[True, False, True], z=pairs)
    reader = LanceReader(path)
    read = reader.read(["x", "y", "z"], np.array([2, 1]))
    assert {name: column.dtype for name, column in read.items()} == {"x": np.uint8, "y": bool, "z": np.float64}
    assert read["z"].tolist() == [[4, 5], [2, 3]]
    assert read["y"].tolist() == [True, False]
    assert np.array_equal(read["x"], [3, 2])


def test_a_table_of_other_episodes_is_refused(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(2, mass=1.0)])
    shutil.rmtree(tmp_path / "set_episodes.lance")
    lance.write_dataset(
        pa.table({"episode_idx": pa.array([0], pa.int32()), "mass": [1.0]}), str(path)[:-6] + "_episodes.lance"
    )
    with pytest.raises(
        UserError, match="set_episodes.lance: is not about the 1 episodes of .*; write the dataset anew"
    ):
        LanceReader(path)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(40)])
    (data,) = (path / "data").iterdir()
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(UserError, match=r"set.lance: cannot be read"):
        LanceReader(path).read(["pixels"], np.array([30]))
    (manifest,) = (path / "_versions").glob("*.manifest")
    manifest.write_bytes(b"")
    with pytest.raises(UserError, match=r"set.lance: cannot be read"):
        LanceReader(path)


def test_replaced_files_leave_readers_a_clear_line(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(4)])
    reader = LanceReader(path)
    write(path, [episode(2)], "overwrite")
    copy = pickle.loads(pickle.dumps(reader))
    with pytest.raises(UserError, match=r"set.lance: cannot be read"):
        copy.read(["label"], np.arange(2))


_WRITE = """
import sys, numpy as np
from stable_worldmodel.data import load_dataset
from stable_worldmodel.data.formats.lance import LanceWriter
rng = np.random.default_rng(0)
with LanceWriter(sys.argv[1], mode="append") as writer:
    for length in (9, 14):
        writer.write_episode({
            "pixels.front": list(rng.integers(0, 256, (length, 16, 24, 3), np.uint8)),
            "x": list(rng.normal(size=(length, 2, 3))),
            "done": [False] * length,
            "action": list(rng.normal(size=(length, 2)).astype(np.float32)),
        })
dataset = load_dataset(sys.argv[1], num_steps=2, frameskip=3)
windows = [dataset[i] for i in range(len(dataset))]
np.savez(sys.argv[2], **{name: np.stack([each[name].numpy() for each in windows]) for name in windows[0]})
"""


@pytest.mark.reference
def test_windows_of_what_it_writes_are_the_reference_s(tmp_path):
    path, saved = tmp_path / "set.lance", tmp_path / "windows.npz"
    run_reference(_WRITE, path, saved)
    windows, expected = Windows(LanceReader(path), 2, 3), npz(saved)
    batch = windows.batch(range(len(windows)))
    assert list(batch) == list(expected)
    for name in expected:
        assert np.abs(batch[name].astype(float) - expected[name]).max() <= (2 if name == "pixels_front" else 0)
