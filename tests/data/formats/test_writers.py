"""What all writers and readers of columns that are kept as they are promise, whatever the format."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from data_episodes import episode, every_episode_a_group, frames, joined, listed, read, write
from goal_env import unchecked_types

from swmjax.data.formats import EPISODE_DATA, detect_format, get_format

pytest.importorskip("h5py", reason="needs h5py: pip install 'swmjax[formats]'")
pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")

PATHS = {"hdf5": "set.h5", "folder": "set", "video": "clips", "lance_video": "frames"}
"""Formats, and what a dataset of each may be called."""
EXACT = ("agent", "terminated", "count", "task", "action", "seed")


KEPT = ("hdf5", "folder", "video")
"""Formats in which columns are what they were, and numbers of rows are columns."""


@pytest.fixture(params=PATHS)
def form(request):
    return request.param


@pytest.fixture
def path(form, tmp_path):
    return tmp_path / "deep" / PATHS[form]


def same(form, found, episodes):
    for name in EXACT:
        expected = joined(episodes, name)
        if form not in KEPT and name not in ("count", "task", "seed"):
            expected = expected.reshape(len(expected), -1).astype(np.float32)
        assert found[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def near(found, episodes):
    drift = np.abs(found["pixels"].astype(int) - joined(episodes, "pixels")).mean(axis=(1, 2, 3))
    assert drift.max() < 3, drift


def test_what_is_written_is_read(form, path):
    episodes = [episode(5, 1), episode(1, 2), episode(7, 3)]
    write(form, path, episodes)
    found, lengths = read(form, path)
    assert lengths == [5, 1, 7]
    same(form, found, episodes)
    near(found, episodes)
    if form in KEPT:
        assert found["episode_idx"].tolist() == [0] * 5 + [1] + [2] * 7
        assert found["step_idx"].tolist() == [*range(5), 0, *range(7)]
    assert listed(path.parent)[0] == PATHS[form]
    assert not [each for each in listed(path.parent) if Path(each).name.startswith(".")]
    assert detect_format(path) is get_format(form)


def test_exactly_the_rows_asked_for_in_their_order(form, path):
    write(form, path, [episode(5, 1), episode(9, 2)])
    reader = get_format(form).reader(path)
    every = reader.read(list(reader.columns), np.arange(14))
    for rows in ([13, 0, 5, 5, 2], [3], [], [4, 5, 6], [0, 13], [0, 5, 10]):
        rows = np.array(rows, np.int64)
        out = {name: np.empty((len(rows), *column.shape), column.dtype) for name, column in reader.columns.items()}
        found = reader.read(["action", "pixels", "task"], rows, {"pixels": out["pixels"], "task": out["task"]})
        assert list(found) == ["action", "pixels", "task"]
        assert found["pixels"] is out["pixels"]
        for name, array in found.items():
            np.testing.assert_array_equal(array, every[name][rows])
            assert array.dtype == reader.columns[name].dtype
    gaps = np.zeros((2, 30, 16, 3), np.uint8)[:, ::-1][:, :24]
    reader.read(["pixels"], np.array([3, 1]), {"pixels": gaps})
    np.testing.assert_array_equal(gaps, every["pixels"][[3, 1]])
    with pytest.raises(IndexError, match="has 14 rows, got numbers from 2 to 14"):
        reader.read(["action"], np.array([2, 14]))
    with pytest.raises(ValueError, match="unknown column of .*'actoin'; did you mean 'action'"):
        reader.read(["actoin"], np.array([2]))
    with pytest.raises(ValueError, match="action is float32 .2, 3., and the array for it float64"):
        reader.read(["action"], np.array([2, 1]), {"action": np.zeros((2, 3))})


def test_readers_are_pickled_without_what_they_have_opened(form, path):
    write(form, path, [episode(5, 1)])
    reader = get_format(form).reader(path)
    before = reader.read(["pixels", "action"], np.arange(5))
    again = pickle.loads(pickle.dumps(reader))
    assert again.lengths.tolist() == [5]
    for name, array in again.read(["pixels", "action"], np.arange(5)).items():
        np.testing.assert_array_equal(array, before[name])


def test_readers_serve_many_threads(form, path):
    from concurrent.futures import ThreadPoolExecutor

    write(form, path, [episode(20, 1), episode(20, 2)])
    reader = get_format(form).reader(path)
    every = reader.read(["pixels", "count"], np.arange(40))
    chosen = [np.random.default_rng(i).integers(0, 40, 6) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for rows, found in zip(
            chosen, pool.map(lambda rows: reader.read(["pixels", "count"], rows), chosen), strict=True
        ):
            for name, array in found.items():
                np.testing.assert_array_equal(array, every[name][rows])


def test_episodes_are_appended_with_the_next_numbers(form, path):
    first, more = [episode(4, 1), episode(2, 2)], [dict(reversed(episode(3, 3).items())), episode(6, 4)]
    write(form, path, first, "append")
    writer = get_format(form).writer(path, "append")
    assert (writer.episodes, writer.committed, writer.seeds.tolist()) == (2, 2, [1, 2])
    assert {"episode_idx", "step_idx", "pixels", "task"} < set(writer.columns)
    write(form, path, more, "append")
    found, lengths = read(form, path)
    assert lengths == [4, 2, 3, 6]
    same(form, found, first + more)
    near(found, first + more)
    if form in KEPT:
        assert found["episode_idx"].tolist() == [0] * 4 + [1] * 2 + [2] * 3 + [3] * 6


def test_a_dataset_is_not_touched_unasked_and_replaced_whole(form, path):
    write(form, path, [episode(4, 1), episode(3, 2)])
    before = listed(path.parent)
    with pytest.raises(FileExistsError, match=f"{path.name} exists; append to it or overwrite it"):
        write(form, path, [episode(2)])
    assert listed(path.parent) == before
    write(form, path, [{"x": np.arange(2), "view": episode(2)["pixels"]}], "overwrite")
    found, lengths = read(form, path)
    assert (set(found) - {"episode_idx", "step_idx"}, lengths) == ({"x", "view"}, [2])
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
def test_an_error_before_the_first_group_leaves_what_was_there(form, path, mode):
    if mode != "error":
        write(form, path, [episode(4)])
    before = listed(path.parent)
    with pytest.raises(RuntimeError, match="on the way"), get_format(form).writer(path, mode) as writer:
        writer.write_episode(episode(4))
        raise RuntimeError("on the way")
    assert listed(path.parent) == before


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
def test_every_group_can_be_read_at_once_and_stays(form, path, mode):
    old = [] if mode == "error" else [episode(4, 8), episode(3, 9)]
    write(form, path, old)
    kept = old if mode == "append" else []
    more = [episode(2, seed) for seed in (1, 2, 3)]
    with (
        every_episode_a_group(),
        pytest.raises(RuntimeError, match="on the way"),
        get_format(form).writer(path, mode) as writer,
    ):
        for count, one in enumerate(more, 1):
            writer.write_episode(one)
            assert writer.committed == len(kept) + count
            found, _ = read(form, path)
            same(form, found, kept + more[:count])
            near(found, kept + more[:count])
        raise RuntimeError("on the way")
    same(form, read(form, path)[0], kept + more)
    write(form, path, [episode(5, 4)], "append")
    found, _ = read(form, path)
    same(form, found, [*kept, *more, episode(5, 4)])
    near(found, [*kept, *more, episode(5, 4)])
    assert os.listdir(path.parent) == [path.name]


def test_what_is_remembered_belongs_to_the_newest_group(form, path):
    kind = get_format(form)
    assert kind.record(path) is None
    with every_episode_a_group(), pytest.raises(RuntimeError), kind.writer(path) as writer:
        writer.remember({"seed": 3})
        writer.write_episode(episode(2))
        writer.write_episode(episode(2))
        assert kind.record(path) == {"seed": 3}
        raise RuntimeError
    write(form, path, [episode(2)], "append")
    assert kind.record(path) == {"seed": 3}
    with kind.writer(path, "append") as writer:
        writer.remember({"seed": 4})
        assert kind.record(path) == {"seed": 3}
        writer.write_episode(episode(2))
    assert kind.record(path) == {"seed": 4}
    write(form, path, [episode(2)], "overwrite")
    assert kind.record(path) is None


def test_two_writers_at_once_are_refused(form, path):
    write(form, path, [episode(4)])
    kind = get_format(form)
    late = kind.writer(path, "append")
    with kind.writer(path, "append") as writer:
        writer.write_episode(episode(2))
        with pytest.raises(ValueError, match="another process is writing to it"), kind.writer(path, "append"):
            pass
    with pytest.raises(ValueError, match="another process has just written to it"), late:
        pass
    assert read(form, path)[1] == [4, 2]


def test_nothing_written_is_no_dataset(form, path):
    path.parent.mkdir()
    write(form, path, [])
    assert listed(path.parent) == []


@pytest.mark.parametrize("form", KEPT)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.pop("action"), r"missing columns \['action'\], unexpected columns \[\]"),
        (lambda one: one.update(more=np.zeros(4)), r"missing columns \[\], unexpected columns \['more'\]"),
        (lambda one: one.update(action=one["action"][:, :2]), r"column action is float32 \[3\], got float32 \[2\]"),
        (
            lambda one: one.update(pixels=one["pixels"].astype(np.float32)),
            "column pixels is images of 24 x 16 px with 3 channels, got float32",
        ),
        (lambda one: one.update(action=np.zeros((3, 3))), "must have the same number of rows"),
        (lambda one: one.update(action=np.array(["a"] * 4)), r"column action is float32 \[3\], got text"),
        (lambda one: one.update(action=np.zeros(4, complex)), "action is complex128; a column must hold numbers"),
        (lambda one: one.update(action=np.array([{}] * 4)), "action is object; a column must hold numbers, or text"),
        (
            lambda one: one.update(pixels=one["pixels"].swapaxes(1, 2)),
            "the images of pixels are 24 x 16 px with 3 channels, got 16 x 24 px with 3 channels",
        ),
        (lambda one: one.update(step_idx=np.zeros(4)), "the writer's own names"),
        (lambda one: one.update(count=np.zeros(4)), r"column count is int64 \[\], got float64 \[\]"),
        (lambda one: one.update(count=np.full(4, 2**63, np.uint64)), r"column count is int64 \[\], got uint64 \[\]"),
        (lambda one: one.update(task=["a", "b", "c", "\udc80"]), "a text of task cannot be stored as UTF-8"),
        (lambda one: one.update({EPISODE_DATA: {"mass": 2.0}}), "hold no values of whole episodes, such as mass"),
    ],
)
def test_episodes_that_do_not_fit(form, path, change, message):
    write(form, path, [episode(4)])
    other = episode(4)
    change(other)
    before = listed(path.parent)
    with pytest.raises(ValueError, match=message):
        write(form, path, [other], "append")
    with pytest.raises(ValueError, match=message):
        get_format(form).writer(path, "append").check(other)
    assert (listed(path.parent), read(form, path)[1]) == (before, [4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.pop("action"), r"missing columns \['action'\], unexpected columns \[\]"),
        (lambda one: one.pop("pixels"), r"missing columns \['pixels'\], unexpected columns \[\]"),
        (lambda one: one.update(action=np.zeros((3, 3))), "must have the same number of rows"),
        (
            lambda one: one.update(pixels=one["pixels"].swapaxes(1, 2)),
            "the images of pixels are 24 x 16 px with 3 channels, got 16 x 24 px with 3 channels",
        ),
        (lambda one: one.update(pixels=one["pixels"][:3]), "must have the same number of rows"),
    ],
)
def test_episodes_that_do_not_fit_within_a_session_either(form, path, change, message):
    other = episode(4)
    change(other)
    with pytest.raises(ValueError, match=message), get_format(form).writer(path) as writer:
        writer.write_episode(episode(4))
        writer.write_episode(other)
    assert not path.exists()
    write(form, path, [episode(4)])
    with pytest.raises(ValueError, match=message):
        get_format(form).writer(path, "append").check(other)


def test_grey_frames(form, path):
    grey = [
        episode(3, 1) | {"pixels": episode(3, 1)["pixels"][..., :1]},
        episode(2) | {"pixels": episode(2)["pixels"][..., :1]},
    ]
    write(form, path, grey[:1])
    write(form, path, grey[1:], "append")
    reader = get_format(form).reader(path)
    channels = 1 if form in ("hdf5", "folder") else 3
    assert reader.columns["pixels"].shape == (24, 16, channels)
    near(read(form, path)[0], grey)
    if channels == 1:
        with pytest.raises(ValueError, match="24 x 16 px with 1 channel, got 24 x 16 px with 3 channels"):
            write(form, path, [episode(2)], "append")


@pytest.mark.parametrize("size", [(15, 17), (2, 2), (1, 3), (50, 34)])
def test_sizes_that_no_codec_likes(form, path, size):
    pictures = frames(4, 3, size)
    write(form, path, [{"view": pictures, "x": np.arange(4)}])
    found, _ = read(form, path)
    assert found["view"].shape == pictures.shape
    assert np.abs(found["view"].astype(int) - pictures).mean() < 4


@pytest.mark.parametrize("form", KEPT)
def test_numbers_may_come_in_what_holds_them(form, path):
    write(form, path, [{"count": np.arange(3), "x": np.ones((3, 2), np.float32)}])
    write(form, path, [{"count": np.arange(3, dtype=np.uint8), "x": np.full((3, 2), 0.1)}], "append")
    found, _ = read(form, path)
    assert (found["count"].dtype, found["x"].dtype) == (np.int64, np.float32)
    assert found["count"].tolist() == [0, 1, 2] * 2
    assert found["x"][-1].tolist() == [np.float32(0.1)] * 2


def test_single_values_and_lists_are_columns(form, path):
    write(form, path, [{"x": [1.5, 2.5], "task": "push", "seed": 7, "frame": list(episode(2)["pixels"])}])
    found, _ = read(form, path)
    assert found["task"].tolist() == ["push"] * 2
    assert (found["seed"].tolist(), found["x"].reshape(-1).tolist()) == ([7, 7], [1.5, 2.5])
    assert found["frame"].shape == (2, 24, 16, 3)


@pytest.mark.parametrize("form", KEPT)
@pytest.mark.parametrize("name", ["ep_len", "ep_offset", "a/b", "", "a\0b", "."])
def test_names_that_no_column_can_have(form, path, name):
    with pytest.raises(ValueError, match="no column of an? .* dataset can be called"):
        write(form, path, [{name: np.zeros(2), "x": np.zeros(2)}])
    assert not path.exists()


@pytest.mark.parametrize("form", KEPT)
def test_names_of_columns_stay(form, path):
    names = ["pixels.front", "variation.agent.color", "größe", "with space", "a-b"]
    write(form, path, [{name: np.zeros(2) for name in names} | {"view.top": episode(2)["pixels"]}])
    assert set(read(form, path)[0]) == {*names, "view.top", "episode_idx", "step_idx"}


def test_what_is_no_dataset_is_not_touched(form, path):
    path.parent.mkdir()
    path.write_text("precious")
    for mode in ("append", "overwrite"):
        with pytest.raises(FileExistsError, match="is no .* dataset; it is not touched"):
            get_format(form).writer(path, mode)
    assert path.read_text() == "precious"
    with unchecked_types(), pytest.raises(ValueError, match="mode must be one of error, append, overwrite, got 'w'"):
        get_format(form).writer(path, "w")


def test_an_option_that_there_is_not(form, path):
    for make in (get_format(form).reader, get_format(form).writer):
        with pytest.raises(ValueError, match=f"the format {form} knows no option 'jpeg'"):
            make(path, jpeg=3)


def test_there_is_none(form, path):
    with pytest.raises(ValueError, match="there is no such dataset"):
        get_format(form).reader(path)


@pytest.mark.parametrize("form", KEPT)
def test_a_full_disk_keeps_what_was_committed(form, path, monkeypatch):
    write(form, path, [episode(4)])
    before = listed(path.parent)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught, get_format(form).writer(path, "append") as writer:
        writer.write_episode(episode(3))
        monkeypatch.setattr(os, "replace", full)
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert (listed(path.parent), read(form, path)[1]) == (before, [4])
