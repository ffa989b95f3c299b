"""Windows: the reference's clips, and only the rows that they need."""

import numpy as np
import pytest
from data_arrays import Arrays, arrays
from hypothesis import given
from hypothesis import strategies as st

from envs_mjx.checks import UserError
from swmjax.data.clips import Clips
from swmjax.data.windows import Windows


def clip(reader, episode, start, num_steps, frameskip):
    """The reference's rule, one window at a time."""
    first = int(reader.offsets[episode]) + start
    rows = slice(first, first + num_steps * frameskip)
    window = {}
    for name, array in reader.arrays.items():
        cut = array[rows] if name == "action" else array[rows][::frameskip]
        if array.dtype == object:
            window[name] = cut[0]
        elif cut.ndim == 4 and cut.shape[-1] in (1, 3):
            window[name] = cut.transpose(0, 3, 1, 2)
        else:
            window[name] = cut.reshape(num_steps, -1) if name == "action" else cut
    return window


def check_same(window, expected):
    assert list(window) == list(expected)
    for name, value in expected.items():
        if isinstance(value, str):
            assert window[name] == value
        else:
            assert window[name].dtype == value.dtype
            np.testing.assert_array_equal(window[name], value)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 4), st.integers(1, 3))
def test_windows_are_every_start_in_every_episode_that_is_long_enough(lengths, num_steps, frameskip):
    span = num_steps * frameskip
    listed = [(i, start) for i, length in enumerate(lengths) for start in range(length - span + 1)]
    clips = Clips(np.maximum(np.asarray(lengths, np.int64) - span + 1, 0))
    assert len(clips) == len(listed)
    assert list(clips) == listed
    assert clips[:3] == listed[:3]
    np.testing.assert_array_equal(np.asarray(clips).reshape(-1, 2), np.reshape(listed, (-1, 2)))
    if listed:
        assert clips[-1] == listed[-1]
    for wrong in (len(listed), -len(listed) - 1):
        with pytest.raises(IndexError, match=f"no window {wrong}"):
            clips[wrong]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 10**6))
def test_windows_are_those_of_the_reference_singly_and_in_batches(num_steps, frameskip, seed):
    reader = arrays((12, 3, 9))
    windows = Windows(reader, num_steps, frameskip)
    indices = np.random.default_rng(seed).integers(-len(windows), len(windows), 7)
    expected = [clip(reader, *windows.clip_indices[i], num_steps, frameskip) for i in indices]
    for window, one in zip(windows.__getitems__(indices), expected, strict=True):
        check_same(window, one)
    check_same(windows[int(indices[0])], expected[0])
    out = windows.empty(len(indices))
    for batch in (windows.batch(indices), windows.batch(indices, out)):
        for i, one in enumerate(expected):
            check_same({name: array[i] for name, array in batch.items()}, one)
    assert all(np.shares_memory(batch[name], out[name]) for name in out)


def test_each_row_that_is_needed_is_read_once_and_no_other():
    reader = arrays((400,))
    windows = Windows(reader, 2, 5, keys_to_load=["pixels", "action"])
    windows.batch([3, 0, 3, 8])
    assert reader.asked == [(["pixels"], [0, 3, 5, 8, 13]), (["action"], list(range(18)))]


def test_a_batch_of_different_rows_is_read_straight_into_its_array():
    reader = arrays((40,))
    windows = Windows(reader, 2, 2, keys_to_load=["pixels"])
    out = windows.empty(2)
    assert out["pixels"].shape == (2, 2, 3, 5, 4)
    assert not out["pixels"].flags.c_contiguous  # height first in memory
    batch = windows.batch([20, 1], out)
    assert reader.asked == [(["pixels"], [20, 22, 1, 3])]
    assert batch["pixels"] is out["pixels"]
    dense = {"pixels": np.ascontiguousarray(out["pixels"])}
    np.testing.assert_array_equal(windows.batch([20, 1], dense)["pixels"], batch["pixels"])
    np.testing.assert_array_equal(windows.batch([20, 20], dense)["pixels"], batch["pixels"][[0, 0]])


def test_transforms_see_single_actions():
    seen = []

    def double(window):
        seen.append({name: np.shape(value) for name, value in window.items()})
        return {**window, "action": 2 * window["action"], "more": np.float32(3)}

    reader = arrays((12, 3, 9))
    windows = Windows(reader, 2, 3, transform=double)
    plain = Windows(reader, 2, 3)
    shapes = {"pixels": (2, 3, 5, 4), "proprio": (2, 3), "reward": (2,), "text": (), "action": (6, 2)}
    batch = windows.batch([1, 5])
    assert seen == [shapes, shapes]
    assert batch["action"].shape == (2, 2, 6)
    np.testing.assert_array_equal(batch["action"], 2 * plain.batch([1, 5])["action"])
    assert batch["more"].tolist() == [3, 3]
    out = windows.empty(2)
    assert windows.batch([1, 5], out)["action"] is out["action"]
    seen.clear()
    windows.load_chunk([0], [1], [7])
    windows.load_episode(1)
    assert [one["action"] for one in seen] == [(6, 2), (3, 2)]
    windows.transform = None
    np.testing.assert_array_equal(windows[1]["action"], plain[1]["action"])


def test_chunks_and_episodes():
    reader = arrays((12, 3, 9))
    windows = Windows(reader, 2, 3)
    first, second, third = windows.load_chunk([2, 0, 2], [1, 0, 3], [7, 12, 9])
    check_same(first, clip(reader, 2, 1, 2, 3))
    check_same(second, clip(reader, 0, 0, 4, 3))
    check_same(third, clip(reader, 2, 3, 2, 3))
    episode = windows.load_episode(1)
    assert episode["action"].shape == (3, 2)
    assert episode["pixels"].shape == (1, 3, 5, 4)
    assert episode["text"] == "row 12"
    for wrong in (([3], [0], [3]), ([0], [-1], [2]), ([0], [3], [3]), ([1], [0], [6]), ([0, 1], [0], [3])):
        with pytest.raises(UserError, match="episode"):
            windows.load_chunk(*wrong)
    with pytest.raises(UserError, match="whole number of steps"):
        windows.load_chunk([0], [0], [7])
    with pytest.raises(UserError, match="episode must be"):
        windows.load_episode(3)


def test_columns_and_rows_as_they_are_stored():
    reader = arrays((12, 3, 9))
    windows = Windows(reader, keys_to_load=["pixels", "reward", "text"])
    for name in ("pixels", "reward", "text"):
        np.testing.assert_array_equal(windows.get_col_data(name), reader.arrays[name])
    row = windows.get_row_data(-1)
    assert list(row) == ["pixels", "reward", "text"]
    assert row["text"] == "row 23"
    assert row["pixels"].shape == (5, 4, 3)
    np.testing.assert_array_equal(windows.get_row_data([5, 2, 5])["reward"], reader.arrays["reward"][[5, 2, 5]])
    assert [windows.get_dim(name) for name in windows.column_names] == [60, 1, 1]
    with pytest.raises(IndexError, match="no row 24; there are 24"):
        windows.get_row_data([0, 24])
    with pytest.raises(UserError, match="unknown column 'rewards'"):
        windows.get_col_data("rewards")


def test_cached_columns_are_read_once():
    reader = arrays((12, 3, 9))
    windows = Windows(reader, 2, 2, keys_to_cache=["pixels", "reward"])
    plain = Windows(arrays((12, 3, 9)), 2, 2)
    reader.asked.clear()
    for index in (0, 5):
        check_same(windows[index], plain[index])
    assert {name for columns, _ in reader.asked for name in columns} == {"proprio", "text", "action"}


def test_joined_columns():
    reader = arrays((12, 3, 9))
    stored = reader.arrays
    joined = np.concatenate([stored["proprio"], stored["reward"][:, None]], axis=-1)
    windows = Windows(
        reader,
        2,
        3,
        keys_to_load=["reward", "action"],
        keys_to_merge={"all": ["proprio", "reward"], "proprio": "pro|rew", "reward": ["reward", "reward"]},
        keys_to_cache=["all"],
    )
    assert windows.column_names == ["reward", "action", "all", "proprio"]
    assert windows.get_dim("all") == 4
    window = windows[3]
    np.testing.assert_array_equal(window["all"], joined[3:9:3])
    np.testing.assert_array_equal(window["proprio"], joined[3:9:3])
    np.testing.assert_array_equal(window["reward"], stored["reward"][3:9:3, None].repeat(2, 1))
    np.testing.assert_array_equal(windows.get_row_data([4])["all"], joined[[4]])
    np.testing.assert_array_equal(windows.batch([3, 4], windows.empty(2))["proprio"][0], joined[3:9:3])
    for wrong in (
        {"new": ["proprio", "text"]},
        {"new": ["pixels", "reward"]},
        {"new": "nothing"},
        {"new": ["nothing"]},
    ):
        with pytest.raises(UserError, match="column"):
            Windows(reader, keys_to_merge=wrong)


def test_values_of_episodes():
    windows = Windows(arrays((12, 3), episode_values={"mass": [1.5, 2.5]}))
    assert windows.episode_column_names == ["mass"]
    assert windows.get_episode_data([1, 0, 1]) == {"mass": [2.5, 1.5, 2.5]}
    assert windows.get_episode_data() == {"mass": [1.5, 2.5]}


def test_float_pictures_stay_float():
    reader = Arrays([4], {"depth": np.random.default_rng(0).normal(size=(4, 6, 5, 1))})
    window = Windows(reader, 2)[1]
    assert window["depth"].dtype == np.float64
    assert window["depth"].shape == (2, 1, 6, 5)


def test_what_cannot_be_cut_is_refused():
    reader = arrays((12, 3, 9))
    with pytest.raises(UserError, match="a window of 4 x 5 rows is longer than every episode; the longest has 12"):
        Windows(reader, 4, 5)
    for numbers in ({"num_steps": 0}, {"frameskip": -1}):
        with pytest.raises(UserError, match=next(iter(numbers))):
            Windows(reader, **numbers)
    with pytest.raises(UserError, match="unknown column of arrays 'pixel'; did you mean 'pixels'"):
        Windows(reader, keys_to_load=["pixel"])
    with pytest.raises(UserError, match="unknown column of arrays 'missing'"):
        Windows(reader, keys_to_cache=["missing"])
    with pytest.raises(UserError, match="no columns"):
        Windows(reader, keys_to_load=[])
    ragged = Windows(reader, 2, transform=lambda window: {"x": window["reward"][: int(window["text"][-1])]})
    with pytest.raises(UserError, match=r"windows of one batch have x of the shapes \[\(1,\), \(2,\)\]"):
        ragged.batch([1, 2])
    assert len(Windows(arrays(()), 4)) == 0
