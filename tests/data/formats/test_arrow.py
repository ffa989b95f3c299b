"""The reference's first layout, and its dataset of windows with the strict rule of length."""

import json
import pickle
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from envs_mjx.checks import UserError
from swmjax.data import decode_jpeg
from swmjax.data.formats import detect_format, get_format
from swmjax.data.formats.arrow import ArrowReader
from swmjax.data.steps import StepsDataset

GOLDEN = Path(__file__).parents[2] / "golden" / "datasets" / "arrow"


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "set"))


def test_rows_come_episode_by_episode():
    reader = ArrowReader(GOLDEN)
    assert detect_format(GOLDEN) is get_format("arrow")
    assert reader.lengths.tolist() == [7, 9]
    kinds = {name: (column.kind, column.shape, column.dtype) for name, column in reader.columns.items()}
    assert kinds == {
        "pixels": ("image", (16, 24, 3), np.uint8),
        "action": ("number", (2,), np.float32),
        "proprio": ("number", (2, 2), np.float64),
        "reward": ("number", (), np.float32),
        "terminated": ("number", (), bool),
        "episode_idx": ("number", (), np.int32),
        "step_idx": ("number", (), np.int32),
        "episode_len": ("number", (), np.int32),
        "policy": ("text", (), object),
        "variation.agent.color": ("number", (3,), np.uint8),
    }
    rows = np.array([8, 0, 15, 8])
    for each in (reader, pickle.loads(pickle.dumps(reader))):
        read = each.read(list(kinds), rows)
        assert read["episode_idx"].tolist() == [1, 0, 1, 1]
        assert read["step_idx"].tolist() == [1, 0, 8, 1]
        assert read["policy"].tolist() == ["random"] * 4
        assert read["terminated"].tolist() == [False, False, True, False]
        assert np.isnan(read["reward"]).tolist() == [False, True, False, False]
        assert np.isnan(read["action"]).all(1).tolist() == [False, False, True, False]
        frames = [decode_jpeg((GOLDEN / "img" / name).read_bytes()) for name in ("1/1_pixels.jpeg", "0/0_pixels.jpeg")]
        np.testing.assert_array_equal(read["pixels"][:2], frames)
    assert all(len(column) == 0 for column in reader.read(list(kinds), rows[:0]).values())


def test_shards_may_lie_in_a_folder_of_their_own(copy):
    (copy / "records").mkdir()
    for file in (*copy.glob("*.arrow"), *copy.glob("*.json")):
        file.rename(copy / "records" / file.name)
    read = ArrowReader(copy).read(["pixels", "step_idx"], np.array([3]))
    assert read["step_idx"].tolist() == [3]


def test_pictures_may_be_png(copy):
    for shard in copy.glob("*.arrow"):  # names of the same length, so that the shards stay whole
        shard.write_bytes(shard.read_bytes().replace(b"_pixels.jpeg", b"_pixels0.png"))
    for jpeg in sorted((copy / "img").rglob("*.jpeg")):
        iio.imwrite(jpeg.with_name(jpeg.name.replace(".jpeg", "0.png")), decode_jpeg(jpeg.read_bytes()))
    rows = np.arange(5)
    expected = ArrowReader(GOLDEN).read(["pixels"], rows)["pixels"]
    np.testing.assert_array_equal(ArrowReader(copy).read(["pixels"], rows)["pixels"], expected)
    (copy / "img" / "0" / "1_pixels0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"row 1 of pixels, .*1_pixels0.png holds something that is no picture"):
        ArrowReader(copy).read(["pixels"], rows)
    iio.imwrite(copy / "img" / "0" / "1_pixels0.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match=r"1_pixels0.png is a picture of \(4, 4, 3\); expected is \(16, 24, 3\)"):
        ArrowReader(copy).read(["pixels"], rows)


def test_what_is_damaged_or_leads_elsewhere_is_refused(copy):
    state = json.loads((copy / "state.json").read_text())
    (copy / "img" / "1" / "2_pixels.jpeg").unlink()
    with pytest.raises(UserError, match="row 9 of pixels: there is no image img/1/2_pixels.jpeg"):
        ArrowReader(copy).read(["pixels"], np.array([8, 9]))
    shards = [file.read_bytes() for file in sorted(copy.glob("*.arrow"))]
    for old, new in ((b"img/0/0_pixels", b"../secret/file"), (b"img/0/0_pixels", b"/etc/passwords")):
        for file, content in zip(sorted(copy.glob("*.arrow")), shards, strict=True):
            file.write_bytes(content.replace(old, new))
        with pytest.raises(UserError, match="row 0 of pixels is .*, and no path of an image within the dataset"):
            ArrowReader(copy)
    first = sorted(copy.glob("*.arrow"))[0]
    first.write_bytes(shards[0][:300])
    with pytest.raises(UserError, match="set: cannot be read"):
        ArrowReader(copy)
    for files, message in (
        ([{"filename": "../x.arrow"}], "lists '../x.arrow', and there is no such file beside it"),
        ([], "lists no shards"),
        ([{}], "does not list the shards"),
    ):
        (copy / "state.json").write_text(json.dumps({**state, "_data_files": files}))
        with pytest.raises(UserError, match=message):
            ArrowReader(copy)
    (copy / "state.json").unlink()
    assert not get_format("arrow").detect(copy)
    with pytest.raises(UserError, match="there is no dataset of Arrow shards"):
        ArrowReader(copy)
    with pytest.raises(UserError, match="datasets in the format arrow can only be read"):
        get_format("arrow").writer(copy)


def test_windows_of_steps():
    dataset = StepsDataset(GOLDEN.name, num_steps=2, frameskip=3, cache_dir=GOLDEN.parent)
    assert len(dataset) == (7 - 5) + (9 - 5)
    window = dataset[2]  # the first of episode 1
    assert window["pixels"].shape == (2, 3, 16, 24)
    assert window["action"].shape == (2, 6)
    assert window["step_idx"].tolist() == [0, 3]
    assert window["episode_idx"].tolist() == [1, 1]
    assert dataset.data_dir == GOLDEN
    assert dataset.episodes.tolist() == [0, 1]
    assert {number: rows.tolist() for number, rows in dataset.episode_slices.items()} == {
        0: list(range(7)),
        1: list(range(7, 16)),
    }
    assert dataset.cum_slices.tolist() == [0, 2, 6]
    assert dataset.idx_to_ep.tolist() == [0, 0, 1, 1, 1, 1]
    assert dataset.img_cols == {"pixels"}
    StepsDataset(GOLDEN, 2, 3, transform=lambda w: w)
    with pytest.raises(UserError, match="episode 0 is too short, 7 rows for 7 steps of 1"):
        StepsDataset(GOLDEN, 7)


def test_windows_need_their_columns(copy):
    for shard in copy.glob("*.arrow"):
        shard.write_bytes(shard.read_bytes().replace(b"step_idx", b"step_num"))
    with pytest.raises(UserError, match="has no column step_idx"):
        StepsDataset(copy)
