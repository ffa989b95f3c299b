"""LeRobot's datasets: names, choices, where they are, and what they may not lead to."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_episodes import npz

from swmjax.data.formats import detect_format, get_format
from swmjax.data.formats.lerobot import LeRobotReader, folder_of

pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")

GOLDEN = Path(__file__).parents[2] / "golden" / "datasets"
TOP, WRIST = "observation.images.top", "observation.images.wrist"


@pytest.fixture
def third(tmp_path):
    return Path(shutil.copytree(GOLDEN / "lerobot_v3", tmp_path / "third"))


@pytest.fixture
def second(tmp_path):
    return Path(shutil.copytree(GOLDEN / "lerobot_v21", tmp_path / "second"))


def changed(folder, **values):
    file = folder / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def refused(folder, message, *names, **options):
    with pytest.raises(ValueError, match=message) as caught:
        reader = LeRobotReader(folder, **options)
        reader.read(list(names or reader.columns), np.arange(reader.rows))
    assert "\n" not in str(caught.value)


def test_names_of_columns(third, second):
    refused(third, f"has the cameras {TOP}, {WRIST}; say with `primary_camera_key` which is `pixels`")
    refused(third, "unknown camera of .*'top'", primary_camera_key="top")
    refused(third, "unknown feature of .*'x'", primary_camera_key=TOP, key_aliases={"x": "y"})
    refused(third, "several columns would be called the same", primary_camera_key=TOP, key_aliases={WRIST: "pixels"})
    reader = LeRobotReader(third, primary_camera_key=WRIST, key_aliases={TOP: "top", "next.success": "done"})
    assert {"pixels", "top", "done", "proprio", "action", "ep_idx", "step_idx", "task"} <= set(reader.columns)
    expected = npz(GOLDEN / "lerobot_v3_read.npz")
    found = reader.read(["pixels", "top"], np.arange(28))
    np.testing.assert_array_equal(found["pixels"], expected[WRIST])
    np.testing.assert_array_equal(found["top"], expected[TOP])
    assert "pixels" in LeRobotReader(second).columns


@pytest.mark.parametrize("version", ["v21", "v3"])
def test_some_episodes_are_numbered_anew(version):
    folder = GOLDEN / f"lerobot_{version}"
    every = LeRobotReader(folder, primary_camera_key=TOP)
    some = LeRobotReader(folder, episodes=[2, 0], primary_camera_key=TOP)
    assert some.lengths.tolist() == [9, 12]
    rows = np.r_[19:28, 0:12]
    expected, found = every.read(list(every.columns), rows), some.read(list(some.columns), np.arange(21))
    for name in set(found) - {"ep_idx"}:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert found["ep_idx"].tolist() == [0] * 9 + [1] * 12
    refused(folder, "episodes must be a whole number from 0 to 2, got 3", episodes=[3], primary_camera_key=TOP)


def test_readers_are_pickled(third):
    reader = LeRobotReader(third, primary_camera_key=TOP)
    before = reader.read(list(reader.columns), np.array([20, 3]))
    for name, array in pickle.loads(pickle.dumps(reader)).read(list(reader.columns), np.array([20, 3])).items():
        np.testing.assert_array_equal(array, before[name])


def test_where_datasets_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_HOME", str(tmp_path))
    name = "lerobot://user/some.set"
    assert detect_format(name) is get_format("lerobot")
    refused(
        name, r"some.set: is not at .*user/some.set; download it with `hf download --repo-type dataset user/some.set"
    )
    snapshot = tmp_path / "hub" / "datasets--user--some.set" / "snapshots" / "abc"
    shutil.copytree(GOLDEN / "lerobot_v21", snapshot)
    assert folder_of(name) == snapshot
    shutil.copytree(GOLDEN / "lerobot_v21", tmp_path / "user" / "some.set")
    assert folder_of(name) == tmp_path / "user" / "some.set"
    assert get_format("lerobot").reader(name).lengths.tolist() == [12, 7, 9]
    monkeypatch.delenv("HF_LEROBOT_HOME")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    shutil.copytree(GOLDEN / "lerobot_v21", tmp_path / "hf" / "lerobot" / "user" / "set")
    assert folder_of("lerobot://user/set") == tmp_path / "hf" / "lerobot" / "user" / "set"
    assert LeRobotReader(name, root=snapshot).lengths.tolist() == [12, 7, 9]
    for wrong in ("lerobot://", "lerobot://user", "lerobot://../../etc", "lerobot://a/b/c", "lerobot://a/.."):
        refused(wrong, "expected is lerobot://USER/NAME")
    with pytest.raises(ValueError, match="can only be read"):
        get_format("lerobot").writer(tmp_path / "new")


@pytest.mark.parametrize(
    "template",
    [
        "../secret/file-{file_index:03d}.parquet",
        "/etc/{chunk_index}",
        "{chunk_index.__class__}",
        "{chunk_index!r}",
        "data/{0}",
        "data/{unknown}.parquet",
        "a\\..\\{file_index}",
        3,
    ],
)
def test_paths_stay_in_the_dataset(third, template):
    changed(third, data_path=template)
    refused(third, "data_path", primary_camera_key=TOP)
    shutil.copy(GOLDEN / "lerobot_v3" / "meta" / "info.json", third / "meta" / "info.json")
    changed(third, video_path=template)
    refused(third, "video_path", primary_camera_key=TOP)


def test_what_is_missing_or_damaged(third, second):
    refused(third / "none", "none: is no LeRobot dataset; expected is a folder with meta/info.json")
    for folder, file, message in (
        (third, "data/chunk-000/file-000.parquet", "file-000.parquet: "),
        (third, "meta/episodes/chunk-000/file-000.parquet", "file-000.parquet: cannot be read|holds no files"),
        (third, f"videos/{TOP}/chunk-000/file-000.mp4", "file-000.mp4: "),
        (second, "meta/episodes.jsonl", "episodes.jsonl: "),
        (second, "data/chunk-000/episode_000001.parquet", "episode_000001.parquet: "),
        (second, f"videos/chunk-000/{TOP}/episode_000002.mp4", "episode_000002.mp4: "),
    ):
        path = folder / file
        whole = path.read_bytes()
        os.truncate(path, len(whole) // 2)
        refused(folder, message, primary_camera_key=TOP)
        path.unlink()
        refused(folder, message, primary_camera_key=TOP)
        path.write_bytes(whole)
    LeRobotReader(third, primary_camera_key=TOP).read(["pixels"], np.arange(28))
    for folder, values, message in (
        (third, {"codebase_version": "v1.6"}, "third: is a LeRobot dataset of version v1.6; read are v2 and v3"),
        (third, {"features": [1]}, "info.json: says nothing of features"),
        (second, {"video_path": None}, "info.json: says no video_path"),
    ):
        changed(folder, **values)
        refused(folder, message)
    (second / "meta" / "info.json").write_text("[1]")
    refused(second, "info.json: holds list where a mapping is expected")
    (second / "meta" / "info.json").write_text("{")
    refused(second, "info.json: cannot be read")


def test_rows_that_are_not_what_the_dataset_says(third):
    file = third / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 20), file)
    refused(third, "file-000.parquet: has 20 rows, and its episodes 28", "action", primary_camera_key=TOP)
    refused(third, "file-000.parquet: has 20 rows; row 27 is asked for", WRIST, primary_camera_key=TOP)
    pq.write_table(table.drop_columns(["action"]), file)
    refused(third, "file-000.parquet: has no column action", "action", primary_camera_key=TOP)
    ragged = pa.array([[0.0] * (1 + i % 2) for i in range(28)], pa.list_(pa.float32()))
    pq.write_table(table.set_column(table.column_names.index("action"), "action", ragged), file)
    refused(third, r"file-000.parquet: action is not float32 \[2\] in every row", "action", primary_camera_key=TOP)
    damaged = pa.array([{"bytes": b"no picture", "path": "x.png"}] * 28)
    pq.write_table(table.set_column(table.column_names.index(WRIST), WRIST, damaged), file)
    refused(third, f"file-000.parquet: {WRIST}, row 0, holds something that is no picture", primary_camera_key=TOP)
    outside = pa.array([{"bytes": None, "path": "/etc/passwd"}] * 28, table.schema.field(WRIST).type)
    pq.write_table(table.set_column(table.column_names.index(WRIST), WRIST, outside), file)
    refused(third, f"file-000.parquet: {WRIST}, row 0, holds no picture", primary_camera_key=TOP)


def test_frames_that_are_shown_at_other_times(third):
    file = third / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(file)
    name = f"videos/{TOP}/from_timestamp"
    late = pa.array([0.0, 1.25, 1.9])
    pq.write_table(table.set_column(table.column_names.index(name), name, late), file)
    reader = LeRobotReader(third, primary_camera_key=TOP)
    reader.read(["pixels"], np.r_[0:12, 19:28])
    with pytest.raises(ValueError, match="file-000.mp4: shows no frame at 1.25.* s; the nearest is 0.05.* s away"):
        reader.read(["pixels"], np.array([12]))
