"""Comparisons of two methods: tests against their definitions, and their false alarms and power by simulation."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swmjax.world.statistics import (
    PairedTest,
    compare_means,
    compare_paired,
    episodes_needed,
    episodes_needed_for_means,
    holm,
    mcnemar,
    mean_interval,
)


@pytest.mark.parametrize(("first", "second"), [(5, 0), (10, 2), (7, 7), (0, 1), (30, 12)])
def test_mcnemar_is_twice_the_smaller_binomial_tail(first, second):
    n, least = first + second, min(first, second)
    tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(second, first) == mcnemar(first, second)


def test_two_runs_are_compared_episode_by_episode():
    first = [True] * 30 + [False] * 10
    second = [True] * 20 + [False] * 10 + [True] * 2 + [False] * 8
    found = compare_paired(first, second)
    assert (found.episodes, found.only_first, found.only_second) == (40, 10, 2)
    assert found.difference == pytest.approx(8 / 40)
    assert found.p_value == mcnemar(10, 2)
    differences = np.repeat([1.0, -1.0, 0.0], [10, 2, 28])
    reach = 1.96 * differences.std() / math.sqrt(40)
    assert (found.low, found.high) == pytest.approx((0.2 - reach, 0.2 + reach), abs=0.03)
    same = compare_paired(first, first)
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_returns_are_compared_by_swapping_within_episodes():
    first, second = np.array([3.0, 5.0, 4.0, 8.0]), np.array([1.0, 4.0, 3.0, 5.0])
    found = compare_means(first, second)
    # Of the 16 ways to swap, only none and all of them give a mean as far from 0.
    assert (found.difference, found.p_value) == (1.75, 2 / 16)
    assert (found.low, found.high) == mean_interval(first - second)
    n = episodes_needed_for_means(0.5, 2.0)
    draws = np.random.default_rng(0).normal(0.5, 2.0, (1000, n))
    powers = np.abs(draws.mean(1)) / draws.std(1, ddof=1) * np.sqrt(n) > stats.t.ppf(0.975, n - 1)
    assert powers.mean() == pytest.approx(0.8, abs=0.04)


def test_holm_adjusts_as_in_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@pytest.mark.parametrize(("only_first", "only_second"), [(0.2, 0.05), (0.3, 0.2)])
def test_the_number_of_episodes_finds_the_difference_as_often_as_said(only_first, only_second):
    n = episodes_needed(only_first, only_second)
    rng = np.random.default_rng(0)
    both = rng.multinomial(n, [only_first, only_second, 1 - only_first - only_second], size=600)
    found = np.mean([mcnemar(int(one), int(other)) < 0.05 for one, other, _ in both])
    # The exact test finds a little less than the formula, which is that of the normal distribution.
    assert 0.72 < found < 0.86
    assert episodes_needed(only_second, only_first) == n
    assert episodes_needed(only_first, only_second, power=0.95) > n


@given(heads=st.integers(0, 300), tails=st.integers(0, 300))
def test_the_bet_is_fair_if_both_are_equally_good(heads, tails):
    """Whatever came before, the evidence after one more episode is on average what it was."""
    now = PairedTest(heads, tails)
    after = np.logaddexp(now.after(True, False).log_evidence, now.after(False, True).log_evidence) - math.log(2)
    assert after == pytest.approx(now.log_evidence, abs=1e-9)
    assert now.after(True, True) == now.after(False, False) == now


LOOKS = 150


@pytest.fixture(scope="module")
def decisions():
    """Whether a test has decided, by how many episodes tell something and how many of them are for the first."""
    table = np.zeros((LOOKS + 1, LOOKS + 1), bool)
    for n in range(LOOKS + 1):
        table[n, : n + 1] = [PairedTest(heads, n - heads).decided() is not None for heads in range(n + 1)]
    return table


def stopped(decisions, rate, studies, seed):
    """The share of studies that decide at any of their looks."""
    heads = np.cumsum(np.random.default_rng(seed).random((studies, LOOKS)) < rate, axis=1)
    return decisions[np.arange(1, LOOKS + 1), heads].any(1).mean()


def test_looking_after_every_episode_gives_few_false_alarms(decisions):
    found = stopped(decisions, 0.5, 4000, 0)
    # Four standard errors of a share of 5 % of 4,000 studies above it would be 6.4 %; the bet leaves some room.
    assert 0.005 < found < 0.05
    # An ordinary test that is looked at as often cries wolf in a fifth of them and more.
    heads = np.cumsum(np.random.default_rng(1).random((60, 60)) < 0.5, axis=1)
    alarms = [any(ordinary(int(h), n - int(h)) < 0.05 for n, h in enumerate(row, 1)) for row in heads]
    assert np.mean(alarms) > 0.15


ordinary = functools.cache(mcnemar)


def test_a_real_difference_is_found(decisions):
    assert stopped(decisions, 0.7, 500, 2) > 0.95
    assert PairedTest(20, 2).decided() == "first"
    assert PairedTest(2, 20).decided() == "second"
    assert PairedTest(3, 0).decided() is None
    assert PairedTest().p_value == 1.0
    assert PairedTest(20, 2).p_value < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_paired([True], [True]), "at least 2, got \\[1\\] and \\[1\\]"),
        (lambda: compare_paired([True] * 3, [True] * 4), "got \\[3\\] and \\[4\\]"),
        (lambda: mcnemar(-1, 2), "cannot be negative, got -1 and 2"),
        (lambda: holm([0.2, 1.2]), "between 0 and 1, got \\[0.2, 1.2\\]"),
        (lambda: episodes_needed(0.1, 0.1), "no number tells them apart"),
        (lambda: episodes_needed(0.8, 0.3), "together at most 1, got 0.8 and 0.3"),
        (lambda: episodes_needed(0.2, 0.1, power=1.0), "power is 1.0"),
        (lambda: compare_means([1.0, 2.0], [1.0]), "of the same episodes, got \\[2\\] and \\[1\\]"),
        (lambda: compare_means([1.0, np.nan], [1.0, 1.0]), "at least 2 finite numbers"),
        (lambda: episodes_needed_for_means(0.0, 1.0), "needs no number of episodes"),
        (lambda: PairedTest(-1, 0), "PairedTest.only_first"),
        (lambda: PairedTest(1, 0).decided(1.0), "confidence is 1.0"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
