"""The replay buffer: whole episodes go, clips stay within one, and its clips are the reference's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import run_reference

from envs_mjx.checks import UserError
from swmjax.data import ReplayBuffer, classic_filter


def episode(length, number=0, **more):
    rows = 1000 * number + np.arange(length)
    return {
        "pixels": (rows[:, None, None, None] + np.arange(2 * 3 * 3).reshape(2, 3, 3)).astype(np.uint8),
        "action": np.stack([rows, -rows], 1).astype(np.float32),
        "reward": rows.astype(np.float64),
        **more,
    }


def check_equal(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == np.asarray(value).dtype
        np.testing.assert_array_equal(found[name], value)


@given(
    st.lists(st.integers(0, 9), max_size=12),
    st.integers(9, 20),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 10**6),
)
def test_it_holds_the_last_episodes_that_fit(lengths, max_steps, history_len, frameskip, seed):
    buffer, kept = ReplayBuffer(max_steps, history_len, frameskip, seed=seed), []
    for number, length in enumerate(lengths):
        buffer.write_episode(episode(length, number))
        kept += [episode(length, number)] * (length > 0)
        while sum(len(one["reward"]) for one in kept) > max_steps:
            kept.pop(0)
    assert buffer.lengths.tolist() == [len(one["reward"]) for one in kept]
    assert buffer.num_steps_stored == sum(buffer.lengths)
    assert len(list(buffer.episodes())) == buffer.num_episodes
    for found, expected in zip(buffer.episodes(), kept, strict=True):
        check_equal(found, expected)
    span, clips = history_len * frameskip, []
    for one in kept:
        for start in range(len(one["reward"]) - span + 1):
            cut = {name: column[start : start + span] for name, column in one.items()}
            strided = {name: column[::frameskip] for name, column in cut.items()}
            clips.append({**strided, "action": cut["action"].reshape(history_len, -1)})
    assert len(buffer) == buffer.num_valid_ends() == len(clips)
    if not clips:
        with pytest.raises(RuntimeError, match=f"there is no clip of {history_len} steps"):
            buffer.sample(2)
        return
    for found, expected in zip(buffer.__getitems__(range(len(clips))), clips, strict=True):
        check_equal(found, expected)
    numbers = np.random.default_rng(seed).integers(-len(clips), len(clips), 5)
    out = buffer.empty(5)
    batch = buffer.batch(numbers, out)
    check_equal(batch, {name: np.stack([clips[i][name] for i in numbers]) for name in clips[0]})
    assert all(np.shares_memory(batch[name], out[name]) for name in batch)
    buffer.sampler = lambda step, *_: numbers % len(clips)
    check_equal(buffer.sample(5), batch)


def test_the_sampler_is_told_the_step_and_must_choose_clips():
    told = []

    def sampler(step, buffer, size, steps):
        told.append((step, buffer.num_valid_ends(steps), size, steps))
        return np.zeros(size, np.int64)

    buffer = ReplayBuffer(20, history_len=2, sampler=sampler)
    buffer.write_episode(episode(5))
    assert buffer.sample(3)["reward"].shape == (3, 2)
    assert buffer.sample(3, step=70)["pixels"].shape == (3, 2, 2, 3, 3)
    assert buffer.sample(1, history_len=4)["action"].shape == (1, 4, 2)
    assert told == [(0, 4, 3, 2), (70, 4, 3, 2), (1, 2, 1, 4)]
    for chosen, error, says in (
        (np.zeros(2, int), UserError, "the sampler must give 3 whole numbers, got int64"),
        (np.zeros(3), UserError, "the sampler must give 3 whole numbers, got float64"),
        (np.full(3, 4), IndexError, "no window 4; there are 4"),
    ):
        buffer.sampler = lambda *_, chosen=chosen: chosen
        with pytest.raises(error, match=says):
            buffer.sample(3)


def test_the_default_sampler_is_uniform_and_has_a_seed():
    drawn = []
    for seed in (1, 1, 2):
        buffer = ReplayBuffer(20, seed=seed)
        buffer.write_episodes([episode(6), episode(4)])
        drawn.append(buffer.sample(5000)["reward"][:, 0])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    counts = np.unique_counts(drawn[0]).counts.tolist()
    assert len(counts) == 6  # rewards of the two episodes are the same numbers
    np.testing.assert_allclose(counts, [1000] * 4 + [500] * 2, rtol=0.2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"reward": np.zeros(3)}, r"missing \['action', 'pixels'\], unexpected \[\]"),
        (episode(3, more=np.zeros(3)), r"missing \[\], unexpected \['more'\]"),
        ({**episode(3), "reward": np.zeros((3, 2))}, r"reward holds float64 \[\] a row, got float64 \[2\]"),
        ({**episode(3), "pixels": np.zeros((3, 2, 3, 3))}, r"pixels holds uint8 \[2, 3, 3\] a row, got float64"),
        ({**episode(3), "reward": 1.0}, "reward is a single value"),
        ({**episode(3), "reward": np.zeros(4)}, "must have the same number of rows, got {'pixels': 3, 'action': 3"),
        ({**episode(3), "reward": [1, None, {}]}, "must hold numbers, or text, got object"),
        (episode(21), r"has 21 rows; the buffer holds max_steps \(20\) at most"),
    ],
)
def test_what_does_not_fit_changes_nothing(given, says):
    buffer = ReplayBuffer(20)
    buffer.write_episodes([episode(9), episode(9, 1)])
    with pytest.raises(UserError, match=says):
        buffer.write_episode(given)
    assert buffer.lengths.tolist() == [9, 9]
    check_equal(next(iter(buffer.episodes())), episode(9))


@pytest.mark.parametrize("name", ["max_steps", "history_len", "frameskip"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_are_checked(name, value):
    with pytest.raises(UserError, match=f"ReplayBuffer.{name} must be a whole number of at least 1, got {value}"):
        ReplayBuffer(**{"max_steps": 5, name: value})


def test_columns_are_filtered_and_the_transform_sees_single_actions():
    seen = []

    def transform(clip):
        seen.append(clip["action"].shape)
        return {**clip, "reward": clip["reward"] * 2}

    buffer = ReplayBuffer(20, 2, 3, transform=transform, key_filter=classic_filter)
    buffer.write_episode(episode(8, state=np.zeros((8, 4))))
    assert buffer.column_names == ["pixels", "action", "reward"]
    assert buffer[-1]["reward"].tolist() == [4.0, 10.0]
    assert seen == [(6, 2)]
    assert buffer.sample(2)["action"].shape == (2, 2, 6)
    assert set(buffer.batch([0, 1])["reward"][:, 0].tolist()) == {0.0, 2.0}


def test_values_of_episodes_and_texts_come_back():
    buffer = ReplayBuffer(12, 2)
    for number in range(3):
        texts = [f"{'long ' * number}{row}" for row in range(5)]
        buffer.write_episode(episode(5, number, task=texts, _episode_data={"seed": number}))
    assert buffer.get_episode_data() == {"seed": [1, 2]}
    assert buffer.get_episode_data([1, 1]) == {"seed": [2, 2]}
    assert buffer.episode_column_names == ["seed"]
    assert [one["_episode_data"] for one in buffer.episodes()] == [{"seed": 1}, {"seed": 2}]
    assert buffer[5]["task"] == "long long 1"
    assert buffer.batch([0, 5], buffer.empty(2))["task"].tolist() == ["long 0", "long long 1"]
    assert buffer.get_col_data("task")[4] == "long 4"


def test_cleared_it_takes_the_same_columns_again():
    with ReplayBuffer(10) as buffer:
        buffer.write_episode(episode(7))
        buffer.clear()
        assert (len(buffer), buffer.num_episodes, list(buffer.episodes())) == (0, 0, [])
        with pytest.raises(UserError, match="missing"):
            buffer.write_episode({"reward": np.zeros(3)})
        buffer.write_episode({})
        buffer.write_episode(episode(0))
        buffer.write_episode(episode(10, 2))
        check_equal(next(iter(buffer.episodes())), episode(10, 2))
    assert "ReplayBuffer(episodes=1, steps=10/10" in repr(buffer)


def test_it_is_dumped_to_a_dataset(tmp_path):
    lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
    buffer = ReplayBuffer(10)
    buffer.write_episodes([episode(6), episode(4, 1), episode(5, 2)])
    buffer.dump(tmp_path / "set.lance")
    buffer.dump(tmp_path / "set.lance")
    table = lance.dataset(str(tmp_path / "set.lance")).to_table()
    assert table.column("episode_idx").to_pylist() == [0] * 4 + [1] * 5
    assert [row[0] for row in table.column("reward").to_pylist()] == [*range(1000, 1004), *range(2000, 2005)]
    with pytest.raises(UserError, match="format"):
        buffer.dump(tmp_path / "set", "none")


_REFERENCE = """
import sys, numpy as np
from stable_worldmodel.data.buffer import ReplayBuffer
given = np.load(sys.argv[1])
buffer = ReplayBuffer(20, 2, 2, sampler=lambda step, *_: given["numbers"])
for first, last in zip(given["ends"] - given["lengths"], given["ends"]):
    buffer.write_episode({name: given[name][first:last] for name in ("pixels", "action", "reward")})
found = {f"sample_{name}": column for name, column in buffer.sample(6).items()}
for index in range(len(buffer)):
    found |= {f"{index}_{name}": column for name, column in buffer[index].items()}
np.savez(sys.argv[2], lengths=buffer.lengths, offsets=buffer.offsets, **found)
"""


@pytest.mark.reference
def test_clips_are_those_of_the_reference(tmp_path):
    lengths = np.array([7, 3, 9, 6, 2, 5])
    episodes = [episode(length, number) for number, length in enumerate(lengths)]
    columns = {name: np.concatenate([one[name] for one in episodes]) for name in episodes[0]}
    numbers = np.array([0, 3, 3, 1, 4, 2])
    np.savez(tmp_path / "given.npz", lengths=lengths, ends=np.cumsum(lengths), numbers=numbers, **columns)
    run_reference(_REFERENCE, tmp_path / "given.npz", tmp_path / "found.npz")
    theirs = np.load(tmp_path / "found.npz")
    buffer = ReplayBuffer(20, 2, 2, sampler=lambda *_: numbers)
    buffer.write_episodes(episodes)
    ours = {f"sample_{name}": column for name, column in buffer.sample(6).items()}
    for index in range(len(buffer)):
        ours |= {f"{index}_{name}": column for name, column in buffer[index].items()}
    assert set(theirs.files) == {*ours, "lengths", "offsets"}
    assert theirs["lengths"].tolist() == buffer.lengths.tolist() == [6, 2, 5]
    for name, column in ours.items():
        assert column.dtype == theirs[name].dtype
        np.testing.assert_array_equal(column, theirs[name])
