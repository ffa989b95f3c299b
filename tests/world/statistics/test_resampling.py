"""Bootstrap intervals against resampling written out, and figures over runs and tasks against hand-made values."""

import numpy as np
import pytest
from goal_env import unchecked_types

from swmjax.world.statistics import (
    clustered_interval,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
)

RNG = np.random.default_rng(3)
RAGGED = [RNG.normal(size=12) + 1, RNG.normal(size=7), RNG.normal(size=9) - 1, RNG.normal(size=12)]
TABLE = RNG.normal(size=(4, 11)) + RNG.normal(size=(4, 1))


def nested(rng):
    chosen = rng.integers(len(RAGGED), size=len(RAGGED))
    return np.concatenate([rng.choice(RAGGED[i], len(RAGGED[i])) for i in chosen]).mean()


def crossed(rng):
    rows, columns = rng.integers(4, size=4), rng.integers(11, size=11)
    return TABLE[rows][:, columns].mean()


@pytest.mark.parametrize(("values", "draw"), [(RAGGED, nested), (TABLE, crossed)])
def test_both_kinds_of_seeds_are_drawn_as_if_written_out(values, draw):
    rng = np.random.default_rng(1)
    expected = np.percentile([draw(rng) for _ in range(20_000)], [2.5, 97.5])
    found = clustered_interval(values, crossed=draw is crossed, resamples=20_000)
    # Percentiles of 20,000 draws scatter by about 1.5 % of the width.
    np.testing.assert_allclose(found, expected, atol=0.05 * np.diff(expected)[0])


def test_the_same_seed_draws_the_same():
    once = clustered_interval(RAGGED, resamples=500, seed=4)
    assert clustered_interval(RAGGED, resamples=500, seed=4) == once
    assert clustered_interval(RAGGED, resamples=500, seed=5) != once
    assert clustered_interval([[2.0, 2.0], [2.0]]) == (2.0, 2.0)


def test_seeds_that_differ_widen_the_interval():
    values = np.concatenate([np.zeros((5, 40)), np.ones((5, 40))])
    low, high = clustered_interval(values)
    pooled = 1.96 * 0.5 / np.sqrt(values.size)
    assert high - 0.5 > 4 * pooled
    assert 0.5 - low > 4 * pooled


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[1.0, 0.0]], {}, "at least 2 rows of finite numbers, got rows of \\[2\\]"),
        ([[1.0], []], {}, "got rows of \\[1, 0\\]"),
        ([[1.0], [np.nan]], {}, "finite"),
        ([[1.0, 0.0], [1.0]], {"crossed": True}, "the same length, got \\[2, 1\\]"),
        ([[1.0], [0.0]], {"confidence": 95}, "confidence is 95"),
        ([[1.0], [0.0]], {"resamples": 0}, "resamples must be"),
    ],
)
def test_what_has_no_interval_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        clustered_interval(values, **options)


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean(np.array([[1.0, 8.0, 3.0, 4.0], [5.0, 6.0, 7.0, 200.0]])) == 5.5
    assert interquartile_mean(np.array([[1.0], [2.0]])) == 1.5


def test_runs_of_each_task_are_drawn_apart():
    """Tasks of very different scores: drawn together, the mean would move; drawn apart, only runs within tasks do."""
    scores = np.stack([[0.0, 100.0, 1000.0]] * 6)
    assert stratified_interval(scores, np.mean, resamples=200) == pytest.approx((1100 / 3, 1100 / 3))
    scores = scores + np.arange(6)[:, None]
    low, high = stratified_interval(scores, np.mean, resamples=2000)
    # The mean of 18 draws from six numbers with a variance of 35/12.
    reach = 1.96 * np.sqrt(35 / 12 / 18)
    assert (scores.mean() - low, high - scores.mean()) == pytest.approx((reach, reach), rel=0.1)


def test_profiles_and_improvement_count_runs_over_all_tasks():
    first = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    second = np.array([[2.0, 7.0], [0.0, 7.0]])
    np.testing.assert_allclose(performance_profile(first, [0.0, 2.0, 6.5, 9.0]), [1, 4 / 6, 1 / 6, 0])
    # First task: 1 beats one, 2 beats one and ties with one, 3 beats both. Second: 7 ties with both.
    assert probability_of_improvement(first, second) == pytest.approx(((1 + 1.5 + 2) / 6 + 1 / 6) / 2)
    assert probability_of_improvement(first, first) == 0.5
    assert probability_of_improvement(np.zeros((3, 1)), np.zeros((2, 1))) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stratified_interval(np.zeros((1, 3)), np.mean), "at least 2 runs, got \\[1, 3\\]"),
        (lambda: performance_profile(np.zeros(3), [0.0]), "scores must be finite numbers \\[runs, tasks\\]"),
        (lambda: probability_of_improvement(np.zeros((2, 3)), np.zeros((2, 4))), "same tasks, got 3 and 4"),
        (lambda: probability_of_improvement(np.zeros((2, 3)), np.full((2, 3), np.inf)), "second must be finite"),
    ],
)
def test_what_is_no_table_is_refused(call, message):
    with unchecked_types(), pytest.raises(ValueError, match=message):
        call()
