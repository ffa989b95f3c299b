"""Datasets that the reference, and LeRobot, wrote are read to what these read of them."""

from pathlib import Path

import numpy as np
import pytest
from data_episodes import npz

from swmjax.data.formats import detect_format, get_format
from swmjax.data.windows import Windows

pytest.importorskip("h5py", reason="needs h5py: pip install 'swmjax[formats]'")
pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")
pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")

GOLDEN = Path(__file__).parents[2] / "golden" / "datasets"
FILES = {
    "hdf5": "lewm_like.h5",
    "folder": "pusht_weak_folder",
    "video": "pusht_weak_video",
    "lance_video": "pusht_weak_lance_video",
}


def window(form, **options):
    return Windows(get_format(form).reader(GOLDEN / FILES[form]), num_steps=4, frameskip=5, **options)[7]


@pytest.mark.parametrize(("form", "away"), [("hdf5", 0), ("folder", 2)])
def test_window_7_is_that_of_the_reference(form, away):
    expected, found = npz(GOLDEN / f"window7_{form}.npz"), window(form)
    # Older recorders, and this cut, number episodes as well.
    assert set(found) - {"ep_idx"} == set(expected)
    for name in expected:
        assert (found[name].dtype, found[name].shape) == (expected[name].dtype, expected[name].shape), name
        if name in ("pixels", "goal"):
            assert np.abs(found[name].astype(int) - expected[name]).max() <= away
        else:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("form", ["video", "lance_video"])
def test_windows_of_videos_are_those_of_the_frames_that_were_encoded(form):
    numbers, pictures = npz(GOLDEN / "window7_hdf5.npz"), npz(GOLDEN / "frames.npz")
    found = window(form)
    for name in ("pixels", "goal"):
        frames = pictures[name][[7, 12, 17, 22]].transpose(0, 3, 1, 2).astype(int)
        assert np.abs(found[name] - frames).mean(axis=(1, 2, 3)).max() < 2
        neighbours = pictures[name][[8, 13, 18, 23]].transpose(0, 3, 1, 2).astype(int)
        if name == "pixels":
            assert (np.abs(found[name] - frames).mean() < 0.8 * np.abs(found[name] - neighbours).mean()).all()
    for name in ("action", "proprio", "state", "block_pose"):
        expected = numbers[name] if form == "video" else numbers[name].astype(np.float32)
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_formats_are_recognised():
    for form, name in FILES.items():
        assert detect_format(GOLDEN / name) is get_format(form)
    for name in ("lerobot_v21", "lerobot_v3"):
        assert detect_format(GOLDEN / name) is get_format("lerobot")


def test_datasets_of_the_public_sets_are_read_in_any_order():
    reader = get_format("hdf5").reader(GOLDEN / FILES["hdf5"])
    assert (reader.lengths.tolist(), reader.columns["ep_idx"].dtype) == ([30, 21], np.int32)
    every = reader.read(["pixels", "state", "ep_idx"], np.arange(51))
    np.testing.assert_array_equal(every["pixels"][:30], npz(GOLDEN / "frames.npz")["pixels"])
    rows = np.array([50, 3, 3, 29, 30])
    for name, array in reader.read(["pixels", "state", "ep_idx"], rows).items():
        np.testing.assert_array_equal(array, every[name][rows])


@pytest.mark.parametrize("version", ["v21", "v3"])
def test_what_lerobot_reads(version):
    camera = "observation.images.top"
    reader = get_format("lerobot").reader(GOLDEN / f"lerobot_{version}", primary_camera_key=camera)
    expected, rows = npz(GOLDEN / f"lerobot_{version}_read.npz"), np.random.default_rng(0).permutation(28)
    assert reader.lengths.tolist() == [12, 7, 9]
    found = reader.read(list(reader.columns), rows)
    named = {"proprio": "observation.state", "pixels": camera, "ep_idx": "episode_index", "step_idx": "frame_index"}
    for name, array in found.items():
        stored = expected[named.get(name, name)][rows]
        if version == "v21" and name == "pixels":  # there, the frames that were drawn
            away = np.abs(array.astype(int) - stored)
            assert away.mean(axis=(1, 2, 3)).max() < 4
            continue
        assert array.dtype == (object if name == "task" else stored.dtype)
        np.testing.assert_array_equal(array, stored, err_msg=name)
    others = {"next.success", "timestamp", "action", "task"} | (
        {"observation.images.wrist"} if version == "v3" else set()
    )
    assert set(found) == {*named, *others}
