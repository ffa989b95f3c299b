"""Folders of pictures or videos: what they may not hold, damage, and what a kill has left."""

import io
import os
import pickle
import shutil

import numpy as np
import pytest
from data_episodes import dead_process, episode, every_episode_a_group, joined, listed, npz, read, write

from swmjax.data import encode_jpeg
from swmjax.data.formats import detect_format, get_format, groups
from swmjax.data.formats.folder_reader import FolderReader
from swmjax.data.formats.folder_writer import FolderWriter
from swmjax.data.formats.video import VideoWriter

pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")


def refused(path, message, rows=()):
    with pytest.raises(ValueError, match=message) as caught:
        reader = FolderReader(path)
        reader.read(list(reader.columns), np.array(rows, np.int64))
    assert "\n" not in str(caught.value)


class Mischief:
    def __reduce__(self):
        return os.system, ("touch /tmp/executed",)


def test_nothing_in_a_file_is_executed(tmp_path):
    write("folder", tmp_path / "set", [episode(4)])
    for name in ("action", "ep_len", "ep_offset"):
        path = tmp_path / name
        shutil.copytree(tmp_path / "set", path)
        np.savez(path / f"{name}.npz", np.array([Mischief()] * 4, object))
        refused(path, f"{name}.npz: (holds object|cannot be read, Object arrays)", [0])
        (path / f"{name}.npz").write_bytes(pickle.dumps(Mischief()))
        refused(path, f"{name}.npz: cannot be read", [0])
    shutil.copytree(tmp_path / "set", tmp_path / "text")
    np.savez(tmp_path / "text" / "task.npz", arr_0=np.array([[1j]]))
    refused(tmp_path / "text", "task.npz: holds complex128")


def test_what_is_no_dataset(tmp_path):
    refused(tmp_path / "none", "none: there is no such dataset")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty: is no dataset; expected is a folder with ep_len.npz")
    write("folder", tmp_path / "set", [episode(4), episode(3)])
    for name, array, message in (
        ("ep_len", np.array([4.0, 3.0]), "do not say where episodes follow one another"),
        ("ep_len", np.array([4, -3]), "do not say where episodes follow one another"),
        ("ep_len", np.array([[4, 3]]), "do not say where episodes follow one another"),
        ("ep_offset", np.array([0, 5]), "do not say where episodes follow one another"),
        ("ep_offset", np.array([0]), "do not say where episodes follow one another"),
        ("action", np.zeros((6, 3)), "action.npz: has 6 rows, and the episodes 7"),
        ("action", np.array(3.0), r"action.npz: holds float64 \[\]"),
    ):
        path = tmp_path / "changed"
        shutil.copytree(tmp_path / "set", path)
        np.savez(path / f"{name}.npz", array)
        refused(path, message)
        shutil.rmtree(path)
    shutil.copytree(tmp_path / "set", path)
    (path / "ep_offset.npz").unlink()
    refused(path, "ep_offset.npz: there is no such file, and the dataset needs it")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_columns_that_were_cut(tmp_path, share):
    write("folder", tmp_path / "set", [episode(40)])
    file = tmp_path / "set" / "action.npz"
    os.truncate(file, int(file.stat().st_size * share))
    refused(tmp_path / "set", "action.npz: cannot be read", [0])


def test_numbers_that_were_overwritten(tmp_path):
    write("folder", tmp_path / "set", [episode(40)])
    file = tmp_path / "set" / "action.npz"
    data = bytearray(file.read_bytes())
    data[300:320] = bytes(20)
    file.write_bytes(bytes(data))
    refused(tmp_path / "set", "action.npz: cannot be read, Bad CRC-32", [0])


def test_pictures_that_are_missing_or_damaged(tmp_path):
    path = tmp_path / "set"
    write("folder", path, [episode(4), episode(3)])
    picture = path / "pixels" / "ep_1_step_2.jpeg"
    reader, data = FolderReader(path), picture.read_bytes()
    for change, message in (
        (picture.unlink, "ep_1_step_2.jpeg: cannot be read, No such file or directory"),
        (lambda: picture.write_bytes(b""), "ep_1_step_2.jpeg holds something that is no picture"),
        (lambda: picture.write_bytes(data[:100]), "ep_1_step_2.jpeg holds"),
        (lambda: picture.write_bytes(encode_jpeg(np.zeros((24, 17, 3), np.uint8))), "ep_1_step_2.jpeg is a picture of"),
    ):
        change()
        with pytest.raises(ValueError, match=message):
            reader.read(["pixels"], np.array([0, 6]))
    reader.read(["pixels"], np.arange(6))
    picture.write_bytes(data)
    picture.rename(picture.with_suffix(".jpg"))
    reader.read(["pixels"], np.arange(7))


def test_videos_that_are_missing_or_damaged(tmp_path):
    path = tmp_path / "clips"
    write("video", path, [episode(4), episode(30), episode(5)])
    clip = path / "pixels" / "ep_1.mp4"
    reader = FolderReader(path)
    reader.read(["pixels"], np.array([0]))
    shutil.copy(path / "pixels" / "ep_2.mp4", clip)
    with pytest.raises(ValueError, match=r"ep_1.mp4: has 5 frames; frame 29 is asked for"):
        reader.read(["pixels"], np.array([0, 33]))
    os.truncate(clip, 300)
    with pytest.raises(ValueError, match="ep_1.mp4: cannot be read"):
        FolderReader(path).read(["pixels"], np.array([10]))
    clip.unlink()
    with pytest.raises(ValueError, match="ep_1.mp4: there is no such file, and the dataset needs it"):
        FolderReader(path).read(["pixels"], np.array([10]))


def interrupted(path, count, writer=FolderWriter):
    with every_episode_a_group(), pytest.raises(RuntimeError), writer(path, "append") as block:
        for i in range(count):
            block.write_episode(episode(3, i))
        raise RuntimeError


def test_parts_are_read_and_joined_by_the_next_writer_even_if_it_writes_nothing(tmp_path):
    path = tmp_path / "set"
    interrupted(path, 3)
    assert sorted(os.listdir(path / "ep_len.parts")) == ["000000001.npz", "000000002.npz"]
    assert npz(path / "ep_len.npz")["arr_0"].tolist() == [3]
    reader = FolderReader(path)
    assert reader.lengths.tolist() == [3, 3, 3]
    write("folder", path, [], "append")
    assert not (path / "ep_len.parts").exists()
    assert npz(path / "ep_len.npz")["arr_0"].tolist() == [3, 3, 3]
    assert npz(path / "ep_offset.npz")["arr_0"].tolist() == [0, 3, 6]
    # A reader that was made before goes on with what has become of the parts.
    expected = joined([episode(3, i) for i in range(3)], "action")
    np.testing.assert_array_equal(reader.read(["action"], np.arange(9))["action"], expected)


def test_parts_are_never_read_twice(tmp_path):
    """A process may die between having joined them and having removed them."""
    path = tmp_path / "set"
    interrupted(path, 3)
    shutil.copytree(path / "ep_len.parts", tmp_path / "copy")
    write("folder", path, [], "append")
    shutil.copytree(tmp_path / "copy", path / "ep_len.parts")
    assert read("folder", path)[1] == [3, 3, 3]
    write("folder", path, [episode(4)], "append")
    assert (read("folder", path)[1], (path / "ep_len.parts").exists()) == ([3, 3, 3, 4], False)


def test_parts_that_do_not_follow_are_not_guessed_at(tmp_path):
    path = tmp_path / "set"
    interrupted(path, 3)
    (path / "ep_len.parts" / "000000001.npz").unlink()
    for make in (FolderReader, lambda path: FolderWriter(path, "append")):
        with pytest.raises(ValueError, match="000000002.npz: does not follow .*set, to which something else"):
            make(path)


def test_parts_do_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "MOST", 2)
    path, most = tmp_path / "set", 0
    with every_episode_a_group(), FolderWriter(path) as writer:
        for i in range(7):
            writer.write_episode(episode(3, i))
            parts = path / "ep_len.parts"
            most = max(most, len(os.listdir(parts)) if parts.exists() else 0)
    assert (most, read("folder", path)[1]) == (2, [3] * 7)


@pytest.mark.parametrize("writer", [FolderWriter, VideoWriter])
def test_pictures_of_no_episode_are_removed(tmp_path, writer):
    path = tmp_path / "set"
    interrupted(path, 2, writer)
    form = "video" if writer is VideoWriter else "folder"
    names = ["ep_2.mp4", "ep_10_step_3.jpeg", "ep_2_step_7.jpg"]
    for name in names:
        (path / "pixels" / name).write_bytes(b"half")
    (tmp_path / f".set.{dead_process()}" / "pixels").mkdir(parents=True)
    assert read(form, path)[1] == [3, 3]
    write(form, path, [episode(3)], "append")
    assert read(form, path)[1] == [3, 3, 3]
    assert os.listdir(tmp_path) == ["set"]
    assert not {"ep_10_step_3.jpeg", "ep_2_step_7.jpg"} & set(os.listdir(path / "pixels"))


def test_a_folder_that_holds_more_than_a_dataset_is_not_replaced(tmp_path):
    write("folder", tmp_path / "set", [episode(4)])
    for name in ("diary.txt", "pixels/diary.txt", "notes/diary.txt", "ep_len.parts/diary.txt"):
        path = tmp_path / "changed"
        shutil.copytree(tmp_path / "set", path)
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("precious")
        before = listed(path)
        with pytest.raises(FileExistsError, match="changed is no folder dataset; it is not touched"):
            FolderWriter(path, "overwrite")
        assert listed(path) == before
        shutil.rmtree(path)


def test_an_empty_folder_is_no_dataset_yet(tmp_path):
    (tmp_path / "set").mkdir()
    write("folder", tmp_path / "set", [episode(4)])
    assert read("folder", tmp_path / "set")[1] == [4]


def test_a_reader_does_not_mix_two_datasets(tmp_path):
    path = tmp_path / "set"
    write("folder", path, [episode(4)])
    reader = FolderReader(path)
    reader.read(["count"], np.arange(4))
    write("folder", path, [episode(5, 3)], "overwrite")
    with pytest.raises(ValueError, match="set: was replaced meanwhile; open it again"):
        reader.read(["action", "pixels"], np.arange(4))


def test_folders_of_pictures_are_columns_even_where_others_lie_in_arrays(tmp_path):
    path = tmp_path / "set"
    write("folder", path, [episode(4)])
    frames = np.random.default_rng(0).integers(0, 256, (4, 5, 4, 3), np.uint8)
    np.savez(path / "view.npz", frames)
    np.savez_compressed(path / "action.npz", np.zeros((4, 3), ">f8"))
    found, _ = read("folder", path)
    np.testing.assert_array_equal(found["view"], frames)
    assert found["action"].dtype == np.float64
    more = episode(2) | {"view": frames[:2]}
    write("folder", path, [more], "append")
    assert not (path / "view").exists()
    np.testing.assert_array_equal(read("folder", path)[0]["view"], np.concatenate([frames, frames[:2]]))


def test_which_format_it_is(tmp_path):
    write("folder", tmp_path / "set", [episode(4)])
    write("video", tmp_path / "clips", [episode(4)])
    write("video", tmp_path / "numbers", [episode(4, images=False)])
    for name, form in (("set", "folder"), ("clips", "video"), ("numbers", "folder")):
        assert detect_format(tmp_path / name) is get_format(form)
        assert detect_format(str(tmp_path / name)) is get_format(form)
    (tmp_path / "set" / "extra").mkdir()
    (tmp_path / "set" / "extra" / "a.mp4").write_bytes(b"")
    assert detect_format(tmp_path / "set") is get_format("video")
    for name in ("none", "s3://bucket/set"):
        assert detect_format(name) is None


@pytest.mark.parametrize("name", [".hidden", "a.npz", "ep_len.x", "ep_offset.y", "a\\b", "a:b", "con*", "end."])
def test_names_that_would_be_other_files(tmp_path, name):
    with pytest.raises(ValueError, match="no column of a folder dataset can be called"):
        write("folder", tmp_path / "set", [{name: np.zeros(2)}])
    assert listed(tmp_path) == []


def test_places_of_other_formats(tmp_path):
    for name in ("set.h5", "set.lance"):
        with pytest.raises(ValueError, match="a folder dataset is a folder, whose name ends in nothing special"):
            FolderWriter(tmp_path / name)
    with pytest.raises(ValueError, match="codec 'xyz' is none"):
        VideoWriter(tmp_path / "set", codec="xyz")
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "set", fps=0)


def test_frames_a_second_are_in_the_video(tmp_path):
    import av

    write("video", tmp_path / "set", [episode(6)], fps=7)
    with av.open(str(tmp_path / "set" / "pixels" / "ep_0.mp4")) as container:
        assert container.streams.video[0].average_rate == 7


def test_what_is_written_is_what_numpy_reads(tmp_path):
    write("folder", tmp_path / "set", [episode(4), episode(3)])
    task = npz(tmp_path / "set" / "task.npz")["arr_0"]
    assert (task.dtype.kind, task.tolist()) == ("U", joined([episode(4), episode(3)], "task").tolist())
    assert npz(tmp_path / "set" / "ep_len.npz")["arr_0"].dtype == np.int32
    assert npz(tmp_path / "set" / "ep_offset.npz")["arr_0"].dtype == np.int64
    assert npz(io.BytesIO((tmp_path / "set" / "count.npz").read_bytes()))["arr_0"].dtype == np.int64
