"""The Lance writer: the reference's layout, and a dataset that is never half written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from goal_env import unchecked_types
from reference import reference_python

from swmjax.data import FORMATS, LanceWriter, decode_jpeg, encode_jpeg, format_of, formats

lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")


def episode(length, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "pixels": rng.integers(0, 255, (length, 8, 6, 3), np.uint8),
        "agent.pose": rng.normal(size=(length, 2, 2)),
        "terminated": rng.random(length) < 0.5,
        "action": rng.normal(size=(length, 3)).astype(np.float32),
    }


def write(path, episodes, mode="error"):
    with LanceWriter(path, mode) as writer:
        for one in episodes:
            writer.write_episode(one)


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_columns_are_those_of_the_reference(tmp_path):
    episodes = [episode(5, 1), episode(3, 2)]
    write(tmp_path / "deep" / "set.lance", episodes)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set.lance"]
    dataset = lance.dataset(str(tmp_path / "deep" / "set.lance"))
    assert dataset.version == 1
    assert dataset.schema.equals(
        pa.schema(
            [
                pa.field("episode_idx", pa.int32()),
                pa.field("step_idx", pa.int32()),
                pa.field("pixels", pa.binary()),
                pa.field("agent_pose", pa.list_(pa.float32(), 4)),
                pa.field("terminated", pa.list_(pa.float32(), 1)),
                pa.field("action", pa.list_(pa.float32(), 3)),
            ]
        ),
        check_metadata=True,
    )
    table = dataset.to_table()
    assert table.column("episode_idx").to_pylist() == [0] * 5 + [1] * 3
    assert table.column("step_idx").to_pylist() == [*range(5), *range(3)]
    stored = np.array(table.column("agent_pose").to_pylist())
    expected = np.concatenate([one["agent.pose"].reshape(-1, 4) for one in episodes])
    np.testing.assert_array_equal(stored, expected.astype(np.float32))
    frames = [decode_jpeg(data) for data in table.column("pixels").to_pylist()]
    assert np.shape(frames) == (8, 8, 6, 3)


def test_frames_are_encoded_as_pillow_does_it_for_the_reference():
    from io import BytesIO

    from PIL import Image

    ramp = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
    for frame, picture in ((np.stack([ramp, 2 * ramp, 255 - ramp], -1), None), (ramp[..., None], ramp)):
        file = BytesIO()
        Image.fromarray(frame if picture is None else picture).save(file, "JPEG", quality=95)
        assert encode_jpeg(frame) == file.getvalue()
        assert np.abs(decode_jpeg(file.getvalue()).astype(int) - frame).mean() < 3


def test_episodes_are_appended_with_the_next_numbers(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(4), episode(2)], "append")
    write(path, [dict(reversed(episode(3, seed=5).items()))], "append")
    table = lance.dataset(str(path)).to_table()
    assert table.column("episode_idx").to_pylist() == [0] * 4 + [1] * 2 + [2] * 3
    np.testing.assert_array_equal(table.column("action").to_pylist()[-3:], episode(3, seed=5)["action"])


def test_a_dataset_is_not_touched_unasked_and_replaced_whole(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(4)])
    before = listed(tmp_path)
    with pytest.raises(FileExistsError, match="set.lance exists; append to it or overwrite it"):
        write(path, [episode(2)])
    assert listed(tmp_path) == before
    write(path, [episode(2)], "overwrite")
    assert lance.dataset(str(path)).count_rows() == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.lance"]


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
def test_an_error_before_the_first_group_leaves_what_was_there(tmp_path, mode):
    path = tmp_path / "set.lance"
    if mode != "error":
        write(path, [episode(4)])
    before = listed(tmp_path)
    with pytest.raises(RuntimeError, match="on the way"), LanceWriter(path, mode) as writer:
        writer.write_episode(episode(4))
        assert listed(tmp_path) == before
        raise RuntimeError("on the way")
    assert listed(tmp_path) == before


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
def test_every_group_can_be_read_at_once_and_stays(tmp_path, mode, monkeypatch):
    monkeypatch.setattr(formats.groups, "BYTES", 1)
    path = tmp_path / "set.lance"
    old = 0 if mode == "error" else 2
    write(path, [episode(4)] * old)
    first = old if mode == "append" else 0
    with pytest.raises(RuntimeError, match="on the way"), LanceWriter(path, mode) as writer:
        for count in (1, 2, 3):
            writer.write_episode(episode(2, seed=count))
            numbers = lance.dataset(str(path)).to_table().column("episode_idx").to_pylist()
            assert sorted(set(numbers)) == list(range(first + count))
            assert writer.committed == first + count
        raise RuntimeError("on the way")
    assert lance.dataset(str(path)).to_table().column("episode_idx").to_pylist() == numbers
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.lance"]
    if mode == "overwrite":  # the old data does not fill the disk any more
        assert len(list((path / "data").iterdir())) == 3


def test_groups_are_committed_by_time(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(formats.groups.time, "monotonic", lambda: now[0])
    with LanceWriter(tmp_path / "set.lance") as writer:
        now[0] += 100  # such as compiling
        writer.write_episode(episode(2))
        assert writer.committed == 0
        now[0] += 29
        writer.write_episode(episode(2))
        assert writer.committed == 0
        now[0] += 1
        writer.write_episode(episode(2))
        assert writer.committed == 3
        now[0] += 29
        writer.write_episode(episode(2))
        writer.settle()
        assert writer.committed == 3
        now[0] += 1
        writer.settle()
        assert writer.committed == 4
        now[0] += 10_000
        for seconds, committed in ((0, 4), (100, 4), (10, 7)):  # a hundredth of the time since the beginning is more
            now[0] += seconds
            writer.write_episode(episode(2))
            assert writer.committed == committed


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, mode, monkeypatch):
    path = tmp_path / "set.lance"
    if mode != "error":
        write(path, [episode(4)])
    died = subprocess.Popen(["true"])
    died.wait()
    monkeypatch.setattr(formats.groups, "BYTES", 1)

    def kill(*args, **options):
        raise _Killed

    with monkeypatch.context() as patch, pytest.raises(_Killed), LanceWriter(path, mode) as writer:
        patch.setattr(lance.LanceDataset, "commit", kill)
        patch.setattr(LanceWriter, "_remove_uncommitted", lambda self: None)
        patch.setattr(formats.lance_commits.shutil, "rmtree", lambda *args, **options: None)
        patch.setattr(os, "getpid", lambda: died.pid)
        writer.write_episode(episode(4))
    for name in (f".set.{died.pid}.lance", f".set.{os.getppid()}.lance", f".set.{died.pid}-elsewhere.lance"):
        (tmp_path / name / "data").mkdir(parents=True)
    assert len(listed(tmp_path)) > 6
    write(path, [episode(3)], "overwrite" if mode == "overwrite" else "append")
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "set.lance", f".set.{os.getppid()}.lance", f".set.{died.pid}-elsewhere.lance"
    }  # fmt: skip
    dataset = lance.dataset(str(path))
    rows = 3 + 4 * (mode == "append")
    assert dataset.count_rows() == rows
    assert len(list((path / "data").iterdir())) == len(dataset.get_fragments()) == 1 + (mode == "append")


class _Killed(BaseException):
    """Stands for a kill."""


def test_files_of_older_versions_are_not_taken_for_leftovers(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(4)])
    lance.write_dataset(lance.dataset(str(path)).to_table().slice(0, 2), str(path), mode="overwrite")
    (path / "data" / "left.lance").write_bytes(b"")
    write(path, [episode(3)], "append")
    assert [lance.dataset(str(path), version=number).count_rows() for number in (1, 2, 3)] == [4, 2, 5]
    assert not (path / "data" / "left.lance").exists()


def test_two_writers_at_once_are_refused(tmp_path):
    path = tmp_path / "set.lance"
    write(path, [episode(4)])
    late = LanceWriter(path, "append")
    with LanceWriter(path, "append") as writer:
        writer.write_episode(episode(2))
        with (
            pytest.raises(ValueError, match="set.lance: another process is writing to it"),
            LanceWriter(path, "append"),
        ):
            pass
    with pytest.raises(ValueError, match="another process has just written to it"), late:
        pass
    assert lance.dataset(str(path)).count_rows() == 6


def test_whole_numbers_that_float32_would_round_stay_whole(tmp_path):
    path, number = tmp_path / "set.lance", 2**62 + 1
    small, pairs = np.arange(2, dtype=np.int32), np.full((2, 2), number)
    given = episode(2) | {"id": number, "seed": np.full(2, 2**31 - 1, np.int32), "pairs": pairs, "small": small}
    write(path, [given])
    schema = lance.dataset(str(path)).schema
    assert schema.field("id").type == schema.field("seed").type == pa.int64()
    assert schema.field("pairs").type == pa.list_(pa.int64(), 2)
    assert schema.field("small").type == pa.list_(pa.float32(), 1)
    assert LanceWriter(path, "append").seeds.tolist() == [2**31 - 1]
    write(path, [given | {"id": small, "small": number}], "append")
    table = lance.dataset(str(path)).to_table()
    assert table.column("id").to_pylist() == [number, number, 0, 1]
    assert table.column("pairs").to_pylist() == [[number] * 2] * 4
    assert table.column("seed").to_pylist() == [2**31 - 1] * 4
    assert table.column("small").to_pylist() == [[0], [1], [2.0**62], [2.0**62]]
    with pytest.raises(ValueError, match="column id is int64, got fixed_size_list"):
        write(path, [given | {"id": 0.5}], "append")


def test_texts_are_columns_a_row_or_an_episode(tmp_path):
    path = tmp_path / "set.lance"
    words = ["grüner", "Kreis"]
    write(path, [episode(2) | {"task": "push", "word": words}, episode(2) | {"task": "reach", "word": np.array(words)}])
    write(path, [episode(2) | {"task": "rest", "word": np.array(words, object)}], "append")
    table = lance.dataset(str(path)).to_table()
    assert table.schema.field("task").type == pa.string()
    assert table.column("task").to_pylist() == ["push"] * 2 + ["reach"] * 2 + ["rest"] * 2
    assert table.column("word").to_pylist() == words * 3
    with pytest.raises(ValueError, match="column task is string, got fixed_size_list"):
        write(path, [episode(2) | {"task": 3.0, "word": words}], "append")


def test_image_sizes_are_those_of_the_first_in_one_session_too(tmp_path):
    path = tmp_path / "set.lance"
    with pytest.raises(ValueError, match="the images of pixels are 8 x 6 px"), LanceWriter(path) as writer:
        writer.write_episode(episode(2))
        writer.write_episode(episode(2) | {"pixels": np.zeros((2, 32, 32, 3), np.uint8)})
    assert listed(tmp_path) == []
    write(path, [episode(2)])
    write(path, [episode(2) | {"pixels": np.zeros((2, 32, 32, 3), np.uint8)}], "overwrite")
    assert lance.dataset(str(path)).count_rows() == 2


def test_formats_are_found_by_path():
    assert format_of(Path("a/set.lance")) is FORMATS["lance"]
    with pytest.raises(ValueError, match="set.txt: the name of a dataset must"):
        format_of(Path("set.txt"))


def test_nothing_written_is_no_dataset(tmp_path):
    write(tmp_path / "set.lance", [])
    assert listed(tmp_path) == []


def _wrong_number(one):
    one["action"] = one["action"][:, :2]


def _wrong_kind(one):
    one["pixels"] = one["pixels"].astype(np.float32)


def _wrong_size(one):
    one["pixels"] = one["pixels"].swapaxes(1, 2)


def _wrong_channels(one):
    one["pixels"] = one["pixels"][..., :1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.pop("action"), r"missing columns \['action'\], unexpected columns \[\]"),
        (lambda one: one.update(more=np.zeros(4)), r"missing columns \[\], unexpected columns \['more'\]"),
        (_wrong_number, "column action is fixed_size_list.*3.*, got fixed_size_list.*2"),
        (_wrong_kind, "column pixels is binary, got"),
        (lambda one: one.update(action=np.zeros((3, 3))), "must have the same number of rows"),
        (lambda one: one.update(action=np.array(["a"] * 4)), "column action is fixed_size_list.*3.*, got string"),
        (
            lambda one: one.update(action=np.zeros(4, complex)),
            "action is complex128; a column must hold numbers, or text",
        ),
        (lambda one: one.update(action=np.array([{}] * 4)), "action is object; a column must hold numbers, or text"),
        (_wrong_size, r"the images of pixels are 8 x 6 px with 3 channels, got 6 x 8 px with 3 channels"),
        (_wrong_channels, r"the images of pixels are 8 x 6 px with 3 channels, got 8 x 6 px with 1 channel$"),
        (lambda one: one.update(step_idx=np.zeros(4)), "the writer's own names"),
        (lambda one: one.update(agent_pose=np.zeros(4)), "cannot be told apart"),
    ],
)
def test_episodes_that_do_not_fit(tmp_path, change, message):
    path = tmp_path / "set.lance"
    write(path, [episode(4)])
    other = episode(4)
    change(other)
    with pytest.raises(ValueError, match=message):
        write(path, [other], "append")
    assert lance.dataset(str(path)).count_rows() == 4


def test_places_that_cannot_be_written_to(tmp_path):
    with pytest.raises(ValueError, match="set.h5: the name of a Lance dataset must end in .lance"):
        LanceWriter(tmp_path / "set.h5")
    with unchecked_types(), pytest.raises(ValueError, match="mode must be one of error, append, overwrite, got 'w'"):
        LanceWriter(tmp_path / "set.lance", "w")
    (tmp_path / "mine.lance").mkdir()
    (tmp_path / "mine.lance" / "diary").write_text("precious")
    for mode in ("append", "overwrite"):
        with pytest.raises(FileExistsError, match="mine.lance is no Lance dataset; it is not touched"):
            LanceWriter(tmp_path / "mine.lance", mode)
    lance.write_dataset(pa.table({"a": [1]}), str(tmp_path / "other.lance"))
    with pytest.raises(ValueError, match="its columns are not those of an episode dataset"):
        LanceWriter(tmp_path / "other.lance", "append")


def test_without_pylance_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(ImportError, match=r"datasets need lance, which is not installed: pip install 'swmjax\[data\]'"):
        LanceWriter(tmp_path / "set.lance")


_READ = """
import sys, numpy as np
from stable_worldmodel.data import load_dataset
dataset = load_dataset(sys.argv[1], num_steps=2, frameskip=2)
window = dataset[1]
assert list(dataset.lengths) == [5, 4], dataset.lengths
names = ["action", "agent_pose", "id", "pixels", "seed", "task", "terminated"]
assert sorted(dataset.column_names) == names, dataset.column_names
assert window.pop("task") == "push"
assert window.pop("id").tolist() == [2**62 + 1] * 2
assert dataset.get_row_data(1)["id"].tolist() == [2**62 + 1]
assert window.pop("seed").tolist() == [3] * 2
shapes = {name: tuple(value.shape) for name, value in window.items()}
assert shapes == {"action": (2, 6), "agent_pose": (2, 4), "pixels": (2, 3, 8, 6), "terminated": (2, 1)}, shapes
np.save(sys.argv[2], window["action"].numpy())
"""


@pytest.mark.reference
def test_the_reference_reads_it(tmp_path):
    python = reference_python()
    named = {"id": 2**62 + 1, "seed": 3, "task": "push"}
    write(tmp_path / "set.lance", [episode(5, 1) | named, episode(4, 2) | named])
    arguments = [str(tmp_path / "set.lance"), str(tmp_path / "window.npy")]
    subprocess.run([python, "-c", _READ, *arguments], check=True)
    np.testing.assert_array_equal(np.load(Path(arguments[1])), episode(5, 1)["action"][1:5].reshape(2, 6))
