"""Datasets of datasets: side by side, one after the other, and split by episode."""

import numpy as np
import pytest
from data_arrays import Arrays, arrays

from envs_mjx.checks import UserError
from swmjax.data.compose import ConcatDataset, MergeDataset
from swmjax.data.goals import GoalDataset
from swmjax.data.subsets import EpisodeSubset, split_episodes
from swmjax.data.windows import Windows


def same(window, expected):
    assert set(window) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(window[name], value)


def negative(window):
    return {**window, "proprio": -window["proprio"], "action": -window["action"]}


def test_columns_stand_side_by_side_and_the_first_to_have_one_gives_it():
    left = Windows(arrays(seed=1, episode_values={"a": [1, 2, 3]}), 2, 3, keys_to_load=["proprio", "action"])
    right = Windows(arrays(seed=2, episode_values={"a": [7, 8, 9], "b": [4, 5, 6]}), 2, 3)
    merged = MergeDataset([left, right])
    assert merged.column_names == ["proprio", "action", "pixels", "reward", "text"]
    for window in (merged[4], {name: column[1] for name, column in merged.batch([0, 4]).items()}):
        same(window, {**right[4], **left[4]})
    same(
        merged.load_chunk([2], [1], [7])[0], {**right.load_chunk([2], [1], [7])[0], **left.load_chunk([2], [1], [7])[0]}
    )
    same(merged.load_episode(1), {**right.load_episode(1), **left.load_episode(1)})
    same(merged.get_row_data([3, 1]), {**right.get_row_data([3, 1]), **left.get_row_data([3, 1])})
    np.testing.assert_array_equal(merged.get_col_data("proprio"), left.get_col_data("proprio"))
    np.testing.assert_array_equal(merged.get_col_data("step_idx"), [*range(12), *range(3), *range(9)])
    np.testing.assert_array_equal(merged.get_col_data("episode_idx"), [0] * 12 + [1] * 3 + [2] * 9)
    assert merged.get_episode_data([2, 0]) == {"a": [3, 1], "b": [6, 4]}
    chosen = MergeDataset([left, right], [["action"], ["proprio"]])
    same(chosen[2], {"action": left[2]["action"], "proprio": right[2]["proprio"]})
    out = merged.empty(2)
    assert merged.batch([5, 1], out)["pixels"] is out["pixels"]


def test_only_contributed_columns_are_read():
    left, right = arrays(), arrays()
    merged = MergeDataset([Windows(left, 2), Windows(right, 2)])
    merged[0]
    assert right.asked == []


def test_what_cannot_stand_side_by_side_is_refused():
    one = Windows(arrays(), 2)
    for others, message in (
        ([], "at least one dataset"),
        ([one, Windows(arrays((12, 3, 8)), 2)], "number 1 has 3 episodes, 23 rows"),
        ([one, Windows(arrays(), 3)], r"the same num_steps, got \[2, 3\]"),
        ([one, GoalDataset(one, (0, 1, 0, 0))], "number 1 has 3 episodes, 24 rows and 18 windows"),
    ):
        with pytest.raises(UserError, match=message):
            MergeDataset(others)
    with pytest.raises(UserError, match="dataset 0 has no column nothing; it has pixels"):
        MergeDataset([one], [["nothing"]])
    with pytest.raises(UserError, match="has 2 lists, for 1 datasets"):
        MergeDataset([one], [["action"], []])
    with pytest.raises(UserError, match="unknown column 'more'"):
        MergeDataset([one]).get_col_data("more")


def test_columns_that_transforms_make_can_be_contributed():
    made = Windows(arrays(), 2, transform=lambda window: {**negative(window), "made": window["reward"] + 1})
    merged = MergeDataset([Windows(arrays(seed=3), 2), made], [["pixels"], ["proprio", "made", "action"]])
    batch = merged.batch([0, 5])
    np.testing.assert_array_equal(batch["made"], made.batch([0, 5])["made"])
    out = merged.empty(2)
    same(merged.batch([0, 5], out), batch)
    assert out["proprio"].flags.owndata


def test_episodes_follow_one_another():
    parts = [Windows(arrays((12, 3), seed=1), 2, 3), Windows(arrays((2, 9, 7), seed=2), 2, 3)]
    parts[1].transform = negative
    both = ConcatDataset(parts)
    windows = [part[i] for part in parts for i in range(len(part))]
    assert len(both) == len(windows) == 7 + 4 + 2
    for index in (0, 6, 7, 12, -1, -13):
        same(both[index], windows[index])
    order = [12, 0, 7, 7, 6]
    for window, index in zip(both.__getitems__(order), order, strict=True):
        same(window, windows[index])
    batch = both.batch(order)
    for i, index in enumerate(order):
        same({name: column[i] for name, column in batch.items()}, windows[index])
    same(both.batch(order, both.empty(5)), batch)
    assert both.lengths.tolist() == [12, 3, 2, 9, 7]
    assert both.offsets.tolist() == [0, 12, 15, 17, 26]
    assert both.clip_indices[7] == (3, 0)
    chunks = both.load_chunk([4, 0, 3], [0, 3, 1], [6, 9, 7])
    same(chunks[0], parts[1].load_chunk([2], [0], [6])[0])
    same(chunks[1], parts[0].load_chunk([0], [3], [9])[0])
    same(both.load_episode(4), parts[1].load_episode(2))
    with pytest.raises(IndexError, match="no window 13"):
        both[13]


def test_rows_of_what_follows_one_another_are_rows():
    parts = [Windows(arrays((12, 3), seed=1), 2, 3), Windows(arrays((2, 9), seed=2), 2, 3)]
    both = ConcatDataset(parts)
    for row, (part, local) in {14: (0, 14), 15: (1, 0), -1: (1, 10)}.items():
        same(both.get_row_data(row), parts[part].get_row_data(local))
    rows = both.get_row_data([15, 0])
    np.testing.assert_array_equal(rows["reward"], both.get_col_data("reward")[[15, 0]])
    np.testing.assert_array_equal(both.get_col_data("episode_idx"), [0] * 12 + [1] * 3 + [2] * 2 + [3] * 9)


def test_datasets_with_other_columns_follow_one_another():
    parts = [
        Windows(arrays((5,), episode_values={"mass": [1.5]}), 2, keys_to_load=["proprio", "reward"]),
        Windows(Arrays([4], {"proprio": np.ones((4, 3)), "more": np.arange(4)}), 2),
    ]
    both = ConcatDataset(parts)
    assert both.column_names == ["proprio", "reward", "more"]
    assert both.columns["proprio"].dtype == np.float64
    first, second = both.__getitems__([0, 4])
    assert set(first) == {"proprio", "reward"}
    assert set(second) == {"proprio", "more"}
    with pytest.raises(UserError, match="in one batch"):
        both.batch([0, 4])
    assert set(both.get_row_data([0, 6])) == {"proprio"}
    np.testing.assert_array_equal(both.get_col_data("more"), np.arange(4))
    assert both.get_episode_data() == {"mass": [1.5, None]}
    assert both.get_episode_data([1, 0, 0]) == {"mass": [None, 1.5, 1.5]}
    other = Windows(Arrays([4], {"proprio": np.ones((4, 1)), "reward": np.ones(4)}), 2)
    with pytest.raises(UserError, match=r"have proprio of the shapes \(2, 3\), \(2, 1\) in one batch"):
        ConcatDataset([parts[0], other]).batch([0, 4])


def test_a_transform_of_the_whole_sees_single_actions_too():
    inner = Windows(arrays(), 2, 3)
    for whole in (MergeDataset([inner]), ConcatDataset([inner, inner]), EpisodeSubset(inner, [2, 0])):
        shapes = []
        plain = whole.batch([0, 1])
        whole.transform = lambda window, shapes=shapes: shapes.append(window["action"].shape) or negative(window)
        np.testing.assert_array_equal(whole.batch([0, 1])["action"], -plain["action"])
        assert shapes == [(6, 2), (6, 2)]


def test_some_episodes_of_a_dataset():
    whole = Windows(arrays((5, 4, 9, 7), episode_values={"mass": [0, 1, 2, 3]}), 2, 2)
    some = EpisodeSubset(whole, [3, 0])
    assert some.lengths.tolist() == [7, 5]
    assert len(some) == 4 + 2
    same(some[0], whole[9])
    same(some[4], whole[0])
    batch = some.batch([5, 1], some.empty(2))
    same(batch, whole.batch([1, 10]))
    assert some.clip_indices[4] == (1, 0)
    assert some.get_row_data(7)["text"] == "row 0"
    assert some.get_col_data("text").tolist() == [f"row {i}" for i in (*range(18, 25), *range(5))]
    same(some.load_episode(1), whole.load_episode(0))
    same(some.load_chunk([0], [1], [3])[0], whole.load_chunk([3], [1], [3])[0])
    assert some.get_episode_data() == {"mass": [3, 0]}
    assert some.get_episode_data([1]) == {"mass": [0]}
    with pytest.raises(UserError, match="episode must be a whole number from 0 to 3, got 4"):
        EpisodeSubset(whole, [4])


def test_split_by_episode():
    whole = Windows(arrays((4,) * 20), 2)
    train, test = split_episodes(whole, [0.9, 0.1])
    assert sorted([*train.episodes, *test.episodes]) == list(range(20))
    assert (len(train.lengths), len(test.lengths)) == (18, 2)
    assert split_episodes(whole, [0.9, 0.1])[1].episodes.tolist() == test.episodes.tolist()
    assert test.episodes.tolist() != [18, 19]
    assert split_episodes(whole, [0.9, 0.1], seed=None)[1].episodes.tolist() == [18, 19]
    for wrong in ([], [0.5, 0.4], [1.5, -0.5]):
        with pytest.raises(UserError, match="fractions must be above 0 and sum to 1"):
            split_episodes(whole, wrong)
    with pytest.raises(UserError, match="leave a part without any"):
        split_episodes(whole, [0.99, 0.01])
