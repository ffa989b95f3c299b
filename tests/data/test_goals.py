"""Goals: the four kinds, at the reference's rates and with the reference's draws."""

from pathlib import Path

import numpy as np
import pytest
from data_arrays import Arrays, arrays, npz
from reference import run_reference

from envs_mjx.checks import UserError
from swmjax.data.compose import ConcatDataset
from swmjax.data.formats import get_format
from swmjax.data.goals import GoalDataset
from swmjax.data.subsets import EpisodeSubset
from swmjax.data.windows import Windows

GOLDEN = Path(__file__).parents[1] / "golden" / "datasets"
RANDOM, GEOMETRIC, UNIFORM, CURRENT = np.eye(4).tolist()


def numbered(lengths=(30, 8, 20)):
    """Every row says which it is."""
    rows = np.concatenate([np.stack([np.full(n, i), np.arange(n)], 1) for i, n in enumerate(lengths)])
    return Arrays(lengths, {"proprio": rows, "action": rows.astype(np.float32)})


def drawn(probabilities, count=4000, num_steps=2, frameskip=3, **options):
    """Episode, first row and goal of many windows."""
    goals = GoalDataset(Windows(numbered(), num_steps, frameskip), probabilities, seed=0, **options)
    indices = np.random.default_rng(1).integers(len(goals), size=count)
    batch = goals.batch(indices)
    assert batch["goal_proprio"].shape == (count, 1, 2)
    return batch["proprio"][:, 0, 0], batch["proprio"][:, 0, 1], batch["goal_proprio"][:, 0]


def test_the_current_goal_is_the_last_step_of_the_window_or_the_one_asked_for():
    episodes, starts, goals = drawn(CURRENT)
    np.testing.assert_array_equal(goals, np.stack([episodes, starts + 3], 1))
    episodes, starts, goals = drawn(CURRENT, current_goal_offset=1)
    np.testing.assert_array_equal(goals, np.stack([episodes, starts], 1))
    episodes, starts, goals = drawn(CURRENT, current_goal_offset=4)  # behind the window, and never behind the episode
    np.testing.assert_array_equal(goals, np.stack([episodes, starts + 9], 1))


def test_random_goals_are_any_rows():
    _, _, goals = drawn(RANDOM, 20_000)
    lengths = np.array([30, 8, 20])
    shares = np.bincount(goals[:, 0], minlength=3) / len(goals)
    np.testing.assert_allclose(shares, lengths / 58, atol=0.01)
    assert {(e, t) for e, t in goals.tolist()} == {(e, t) for e in range(3) for t in range(lengths[e])}


@pytest.mark.parametrize("kind", [GEOMETRIC, UNIFORM])
def test_future_goals_are_later_steps_of_the_same_episode(kind):
    episodes, starts, goals = drawn(kind, 20_000, gamma=0.7)
    np.testing.assert_array_equal(goals[:, 0], episodes)
    ahead = goals[:, 1] - (starts + 3)
    assert (ahead % 3 == 0).all()
    assert ahead.min() == 3
    first = (episodes == 0) & (starts == 0)  # with 8 later steps
    shares = np.bincount(ahead[first] // 3, minlength=9)[1:] / first.sum()
    expected = np.full(8, 1 / 8) if kind is UNIFORM else np.array([*(0.3 * 0.7 ** np.arange(7)), 0.7**7])
    np.testing.assert_allclose(shares, expected, atol=0.06)


def test_windows_without_a_future_are_left_out_where_goals_may_be_there():
    plain = Windows(numbered(), 2, 3)
    assert len(GoalDataset(plain, (0.5, 0, 0, 0.5))) == len(plain) == 25 + 3 + 15
    assert len(GoalDataset(plain, (0.5, 0.5, 0, 0))) == 24 + 2 + 14
    assert len(GoalDataset(plain, (0, 0, 0, 1), current_goal_offset=4)) == 21 + 0 + 11


def test_kinds_are_mixed_at_their_rates():
    episodes, starts, goals = drawn((0.3, 0.5, 0.0, 0.2), 20_000)
    current = (goals == np.stack([episodes, starts + 3], 1)).all(1).mean()
    other = (goals[:, 0] != episodes).mean()
    assert abs(current - 0.2 - 0.3 / 58) < 0.01
    elsewhere = 0.3 * np.mean([1 - np.array([30, 8, 20])[int(e)] / 58 for e in episodes])
    assert abs(other - elsewhere) < 0.01


def test_draws_repeat_with_the_seed_and_go_on_with_the_calls():
    plain = Windows(numbered(), 2, 3)
    one, other = (GoalDataset(plain, seed=3) for _ in range(2))
    singly = [one[i]["goal_proprio"] for i in (4, 0, 9)]
    np.testing.assert_array_equal(other.batch([4, 0, 9])["goal_proprio"], singly)
    assert not np.array_equal(
        one.batch(range(20))["goal_proprio"], GoalDataset(plain, seed=3).batch(range(20))["goal_proprio"]
    )


def test_draws_of_a_key_do_not_depend_on_what_was_asked_for_before():
    plain = Windows(numbered(), 2, 3)
    whole = EpisodeSubset(ConcatDataset([GoalDataset(plain, seed=3), GoalDataset(plain)]), [5, 0, 2])
    first = whole.seeded(7, 1).batch(range(30))["goal_proprio"]
    whole.batch(range(5))
    np.testing.assert_array_equal(whole.seeded(7, 1).batch(range(30))["goal_proprio"], first)
    assert not np.array_equal(whole.seeded(7, 2).batch(range(30))["goal_proprio"], first)
    assert plain.seeded(1) is plain


def test_goals_have_the_columns_that_are_asked_for():
    plain = Windows(arrays((12, 3, 9)), 2)
    goals = GoalDataset(plain, CURRENT, seed=0)
    assert goals.column_names == plain.column_names
    assert goals.window_columns == [*plain.column_names, "goal_pixels", "goal_proprio"]
    window = goals[3]
    np.testing.assert_array_equal(window["goal_pixels"], window["pixels"][1:])
    out = goals.empty(2)
    assert goals.batch([0, 1], out)["goal_pixels"] is out["goal_pixels"]
    named = GoalDataset(plain, CURRENT, goal_keys={"reward": "target", "text": "said"})
    assert named[0]["target"] == named[0]["reward"][1]
    assert named[0]["said"] == "row 1"
    assert set(GoalDataset(plain, CURRENT, goal_keys={})[0]) == set(plain.column_names)
    with pytest.raises(UserError, match="unknown column 'state'"):
        GoalDataset(plain, goal_keys={"state": "goal_state"})


def test_goals_are_transformed_as_windows_are():
    plain = Windows(arrays((12, 3, 9)), 2)
    plain.transform = lambda window: {**window, "proprio": -window["proprio"], "made": window["reward"] + 1}
    goals = GoalDataset(plain, CURRENT, goal_keys={"proprio": "goal", "made": "goal_made"})
    batch = goals.batch([0, 5], goals.empty(2))
    np.testing.assert_array_equal(batch["goal"], batch["proprio"][:, 1:])
    np.testing.assert_array_equal(batch["goal_made"], batch["made"][:, 1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal_probabilities": (0.5, 0.5)}, "goal_probabilities must be numbers that sum to 1"),
        ({"goal_probabilities": (0.5, 0.5, 0.5, 0)}, "goal_probabilities must be numbers that sum to 1"),
        ({"goal_probabilities": (1.5, -0.5, 0, 0)}, "goal_probabilities must be numbers that sum to 1"),
        ({"gamma": 1.5}, "gamma must be a number"),
        ({"current_goal_offset": 0}, "current_goal_offset must be a whole number of at least 1"),
    ],
)
def test_wrong_numbers_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        GoalDataset(Windows(numbered(), 2), **options)


_GOALS = """
import sys, numpy as np
from stable_worldmodel.data import GoalDataset, load_dataset
keys = ["proprio", "state", "action"]
found = {}
for number, (probabilities, gamma, offset) in enumerate(eval(sys.argv[3])):
    dataset = load_dataset(sys.argv[1], num_steps=2, frameskip=3, keys_to_load=keys)
    goals = GoalDataset(dataset, probabilities, gamma, offset, {"proprio": "goal_proprio", "state": "g"}, seed=5)
    windows = [goals[i] for i in range(0, len(goals), 3)]
    found[f"length {number}"] = len(goals)
    for name in windows[0]:
        found[f"{name} {number}"] = np.stack([window[name].numpy() for window in windows])
np.savez(sys.argv[2], **found)
"""


@pytest.mark.reference
def test_goals_are_the_reference_s_draw_by_draw(tmp_path):
    cases = [((0.3, 0.5, 0.0, 0.2), 0.99, None), ((0.25, 0.25, 0.25, 0.25), 0.8, 1), ((0.5, 0, 0, 0.5), 0.9, None)]
    path, saved = GOLDEN / "pusht_weak.lance", tmp_path / "goals.npz"
    run_reference(_GOALS, path, saved, repr(cases))
    expected = npz(saved)
    windows = Windows(get_format("lance").reader(path), 2, 3, keys_to_load=["proprio", "state", "action"])
    for number, (probabilities, gamma, offset) in enumerate(cases):
        goals = GoalDataset(windows, probabilities, gamma, offset, {"proprio": "goal_proprio", "state": "g"}, seed=5)
        assert len(goals) == expected[f"length {number}"]
        batch = goals.batch(range(0, len(goals), 3))
        assert list(batch) == ["proprio", "state", "action", "goal_proprio", "g"]
        for name, column in batch.items():
            np.testing.assert_array_equal(column, expected[f"{name} {number}"])
