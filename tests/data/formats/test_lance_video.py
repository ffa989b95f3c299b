"""Lance tables with videos: two tables that belong together, whatever dies between their commits."""

import os
import shutil

import numpy as np
import pyarrow as pa
import pytest
from data_episodes import episode, every_episode_a_group, frames, listed, read, write

from swmjax.data.formats import EPISODE_DATA, detect_format, format_of, get_format
from swmjax.data.formats.lance_video_reader import LanceVideoReader
from swmjax.data.formats.lance_video_writer import LanceVideoWriter, _Steps

lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")


def videos(path):
    table = lance.dataset(str(path / f"{path.name}_videos.lance")).to_table(columns=["episode_idx", "video_key"])
    return list(zip(table.column("episode_idx").to_pylist(), table.column("video_key").to_pylist(), strict=True))


def test_the_tables_are_those_of_the_reference(tmp_path):
    path = tmp_path / "set"
    write("lance_video", path, [episode(4) | {"view.top": frames(4)}, episode(3) | {"view.top": frames(3)}])
    assert sorted(os.listdir(path)) == ["set.lance", "set_videos.lance"]
    schema = lance.dataset(str(path / "set_videos.lance")).schema
    assert schema.names == ["episode_idx", "video_key", "video_bytes"]
    assert [field.type for field in schema] == [pa.int32(), pa.string(), pa.large_binary()]
    assert schema.field("video_bytes").metadata == {b"lance-encoding:blob": b"true"}
    assert videos(path) == [(0, "pixels"), (0, "view_top"), (1, "pixels"), (1, "view_top")]
    steps = lance.dataset(str(path / "set.lance")).schema
    assert {"pixels", "view_top"}.isdisjoint(steps.names)
    assert steps.names[:3] == ["episode_idx", "step_idx", "agent"]


def test_a_table_with_videos_beside_it_is_not_taken_for_a_whole_dataset(tmp_path):
    path = tmp_path / "set"
    write("lance_video", path, [episode(4)])
    for name in (path, path / "set.lance", f"{path}/"):
        assert detect_format(name) is get_format("lance_video")
        assert "pixels" in format_of(name).reader(name).columns
    write("lance", tmp_path / "other.lance", [episode(4)])
    assert detect_format(tmp_path / "other.lance") is get_format("lance")
    assert detect_format("s3://bucket/set_videos.lance") is get_format("lance")


def test_values_of_whole_episodes(tmp_path):
    path = tmp_path / "set"
    write("lance_video", path, [episode(4) | {EPISODE_DATA: {"mass": 1.5}}, episode(3) | {EPISODE_DATA: {"mass": 2.5}}])
    write("lance_video", path, [episode(2) | {EPISODE_DATA: {"mass": 3.5}}], "append")
    reader = LanceVideoReader(path)
    assert reader.episode_columns == ("mass",)
    assert reader.episode_data([2, 0]) == {"mass": [3.5, 1.5]}
    with pytest.raises(ValueError, match="mass"):
        LanceVideoWriter(path, "append").check(episode(2))


def test_videos_without_steps_belong_to_no_episode(tmp_path, monkeypatch):
    path = tmp_path / "set"
    write("lance_video", path, [episode(4, 1)])

    def die(self):
        self._before()
        raise RuntimeError("between the commits")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError), LanceVideoWriter(path, "append") as writer:
        patch.setattr(_Steps, "flush", die)
        writer.write_episode(episode(3, 2))
    assert videos(path) == [(0, "pixels"), (1, "pixels")]
    assert read("lance_video", path)[1] == [4]
    write("lance_video", path, [episode(5, 3)], "append")
    assert videos(path) == [(0, "pixels"), (1, "pixels")]
    found, lengths = read("lance_video", path)
    assert lengths == [4, 5]
    assert np.abs(found["pixels"][4:].astype(int) - episode(5, 3)["pixels"]).mean() < 3


def test_a_reader_does_not_mix_two_datasets(tmp_path):
    path = tmp_path / "set"
    write("lance_video", path, [episode(4)])
    reader = LanceVideoReader(path)
    write("lance_video", path, [episode(5, 3)], "overwrite")
    with pytest.raises(ValueError, match="set: was replaced meanwhile; open it again"):
        reader.read(["action", "pixels"], np.arange(4))


def test_what_is_missing_or_damaged(tmp_path):
    path = tmp_path / "set"
    write("lance_video", path, [episode(4), episode(3)])
    for folder, message in (
        ("set.lance", "set: .* holds none"),
        ("set_videos.lance", "set_videos.lance: there is no such table, and the dataset needs its videos"),
    ):
        changed = tmp_path / "changed"
        shutil.copytree(path, changed / "set")
        shutil.rmtree(changed / "set" / folder)
        with pytest.raises(ValueError, match=message):
            LanceVideoReader(changed / "set")
        shutil.rmtree(changed)
    table = path / "set_videos.lance"
    lance.dataset(str(table)).delete("episode_idx = 1")
    with pytest.raises(ValueError, match="set_videos.lance: episode 1 has no video of pixels"):
        LanceVideoReader(path).read(["pixels"], np.array([0, 5]))
    shutil.rmtree(table)
    lance.write_dataset(pa.table({"episode_idx": [0]}), str(table))
    with pytest.raises(ValueError, match="has no column video_key, video_bytes, so it is no table of videos"):
        LanceVideoReader(path)


def test_videos_that_lie_elsewhere_are_not_fetched():
    from swmjax.data.formats.lance_video_layout import _check_inside

    def column(address):
        kinds = {"kind": pa.uint8(), "size": pa.uint64(), "blob_uri": pa.string()}
        return pa.chunked_array([pa.array([{"kind": 3, "size": 9, "blob_uri": address}], pa.struct(kinds.items()))])

    _check_inside(column(""), "set")
    with pytest.raises(ValueError, match="set: videos lie outside of the dataset, from where they are not read"):
        _check_inside(column("file:///etc/passwd"), "set")


def test_a_folder_that_holds_more_than_a_dataset_is_not_replaced(tmp_path):
    path = tmp_path / "set"
    write("lance_video", path, [episode(4)])
    (path / "diary").write_text("precious")
    before = listed(path)
    with pytest.raises(FileExistsError, match="set is no lance_video dataset; it is not touched"):
        LanceVideoWriter(path, "overwrite")
    assert listed(path) == before
    with pytest.raises(ValueError, match="a lance_video dataset is a folder"):
        LanceVideoWriter(tmp_path / "set.lance")


def test_a_commit_by_either_table_is_one_of_both(tmp_path):
    path = tmp_path / "set"
    with every_episode_a_group(), LanceVideoWriter(path) as writer:
        for i in range(3):
            writer.write_episode(episode(2, i))
            assert (writer.committed, writer.episodes) == (i + 1, i + 1)
            assert read("lance_video", path)[1] == [2] * (i + 1)
    assert os.listdir(tmp_path) == ["set"]
