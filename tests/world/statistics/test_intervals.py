"""Intervals and latencies against published and hand-made values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swmjax.world.statistics import Latency, mean_interval, paired_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_newcombes_table(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("confidence", "z"), [(0.90, 1.644854), (0.99, 2.575829)])
def test_bounds_lie_z_standard_errors_from_the_estimate(confidence, z):
    for bound in wilson_interval(7, 20, confidence):
        assert abs(0.35 - bound) / math.sqrt(bound * (1 - bound) / 20) == pytest.approx(z, rel=1e-5)


@given(trials=st.integers(1, 10_000), share=st.floats(0, 1), confidence=st.floats(0.01, 1 - 1e-12))
def test_interval_is_ordered_holds_the_rate_and_mirrors(trials, share, confidence):
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials, confidence)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    assert (low == 0.0) == (successes == 0)
    assert (high == 1.0) == (successes == trials)
    mirrored = wilson_interval(trials - successes, trials, confidence)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "trials is 0"),
        ((0, -3), "trials is -3"),
        ((5, 4), "successes is 5"),
        ((-1, 4), "successes is -1"),
        ((1, 4, 1.0), "confidence is 1.0"),
        ((1, 4, 0.0), "confidence is 0.0"),
        ((1, 4, math.nan), "confidence is nan"),
    ],
)
def test_impossible_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(*arguments)


def test_latency_is_median_and_interpolated_p95():
    assert Latency.of([0.5]) == Latency(median=0.5, p95=0.5, n=1)
    summary = Latency.of([float(i) for i in range(100, -1, -1)])
    assert (summary.median, summary.p95, summary.n) == (50.0, 95.0, 101)
    assert Latency.of([0.0, 1.0]).p95 == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("seconds", "message"), [([], "no latency"), ([1.0, -0.1], "latency 1 is -0.1"), ([math.nan], "latency 0 is nan")]
)
def test_impossible_latencies_are_refused(seconds, message):
    with pytest.raises(ValueError, match=message):
        Latency.of(seconds)


def test_a_paired_interval_is_that_of_the_differences():
    # Differences 0.5, 0, 0, -0.5, 1: mean 0.2, standard error 0.25495, t(0.975, 4) = 2.77645.
    successes = [[True, True, False, False, True], [False, True, False, False, True]]
    mean, low, high = paired_interval(successes, [False, True, False, True, False])
    differences = np.mean(successes, axis=0) - [0, 1, 0, 1, 0]
    error = differences.std(ddof=1) / np.sqrt(5)
    assert mean == pytest.approx(differences.mean())
    assert (low, high) == pytest.approx((mean - 2.776445 * error, min(mean + 2.776445 * error, 1.0)), rel=1e-4)
    assert paired_interval([[True, False]], [True, False]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("successes", "reference"), [([[True]], [True]), ([[True, False]], [True]), ([], [])])
def test_a_paired_interval_needs_pairs(successes, reference):
    with pytest.raises(ValueError, match="at least 2 problems"):
        paired_interval(successes, reference)


def test_the_interval_of_a_mean_is_students():
    # 2.776 is the 97.5 % quantile of Student's t with 4 degrees of freedom, as tables have it.
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    reach = 2.776445 * math.sqrt(2.5 / 5)
    assert mean_interval(values) == pytest.approx((3 - reach, 3 + reach), rel=1e-6)
    assert mean_interval([7.0, 7.0, 7.0]) == (7.0, 7.0)
    for bad, message in (([1.0], "at least 2 finite numbers"), ([1.0, math.nan], "at least 2 finite numbers")):
        with pytest.raises(ValueError, match=message):
            mean_interval(bad)
    with pytest.raises(ValueError, match="confidence is 1"):
        mean_interval(values, 1.0)
