"""Two methods on the same episodes: which one is better, how sure that is, and how many episodes it takes to tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from envs_mjx.checks import UserError
from swmjax.world.statistics.intervals import check_confidence, mean_interval
from swmjax.world.statistics.resampling import RESAMPLES

_LEAST_EPISODES = 2


@dataclass(frozen=True)
class PairedComparison:
    """Successes of two methods on the same episodes.

    Attributes:
        episodes: How many.
        only_first: Episodes that only the first one solved.
        only_second: Those that only the second one solved.
        difference: Success rate of the first less that of the second, -1 to 1.
        low: Lower bound of the difference.
        high: Upper bound.
        p_value: Of the exact McNemar test that both are equally good.
    """

    episodes: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p_value: float


def compare_paired(
    first: Sequence[bool] | np.ndarray,
    second: Sequence[bool] | np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedComparison:
    """Compare successes on the same episodes.

    Args:
        first: One entry an episode, at least 2.
        second: The same episodes in the same order.
        confidence: Of the interval, a bootstrap over episodes.
        resamples: Of the bootstrap.
        seed: Of its draws.

    Raises:
        UserError: The numbers of episodes differ, or there are fewer than 2.

    Source: Q. McNemar 1947, with the binomial distribution of the episodes that only one of them solved.
    """
    ours, theirs = np.asarray(first, bool), np.asarray(second, bool)
    if ours.ndim != 1 or ours.shape != theirs.shape or ours.size < _LEAST_EPISODES:
        raise UserError(
            f"both must be successes of the same episodes, at least {_LEAST_EPISODES}, "
            f"got {list(ours.shape)} and {list(theirs.shape)}"
        )
    check_confidence(confidence)
    only_first, only_second = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    differences = ours.astype(float) - theirs
    bounds = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return PairedComparison(
        episodes=ours.size,
        only_first=only_first,
        only_second=only_second,
        difference=float(differences.mean()),
        low=float(bounds.low),
        high=float(bounds.high),
        p_value=mcnemar(only_first, only_second),
    )


@dataclass(frozen=True)
class PairedMeans:
    """Returns of two methods on the same episodes.

    Attributes:
        episodes: How many.
        difference: Mean of the first less mean of the second.
        low: Lower bound of the difference, by Student's t.
        high: Upper bound.
        p_value: Of the permutation test that swaps the two within episodes.
        deviation: Standard deviation of the episodes' differences.
    """

    episodes: int
    difference: float
    low: float
    high: float
    p_value: float
    deviation: float


def compare_means(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedMeans:
    """Compare returns, or other numbers, of the same episodes.

    Args:
        first: One entry an episode, at least 2.
        second: The same episodes in the same order.
        confidence: Of the interval.
        resamples: Permutations at most; all there are, where they are fewer.
        seed: Of their draws.

    Raises:
        UserError: The numbers of episodes differ, there are fewer than 2, or one is not finite.
    """
    ours, theirs = np.asarray(first, float), np.asarray(second, float)
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise UserError(f"both must be of the same episodes, got {list(ours.shape)} and {list(theirs.shape)}")
    differences = ours - theirs
    low, high = mean_interval(differences, confidence)
    test = stats.permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return PairedMeans(
        episodes=ours.size,
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_value=float(test.pvalue),
        deviation=float(differences.std(ddof=1)),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """P-value of the exact two-sided test that each of two methods is as likely as the other to solve what one misses.

    Args:
        only_first: Episodes that only the first one solved.
        only_second: Those that only the second one solved.

    Raises:
        UserError: A number is negative.
    """
    if min(only_first, only_second) < 0:
        raise UserError(f"numbers of episodes cannot be negative, got {only_first} and {only_second}")
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of a table of comparisons, adjusted so that one false alarm among them is as rare as in a single test.

    Args:
        p_values: Of the tests, each 0 to 1.

    Returns:
        Adjusted values in the same order, at most 1.

    Raises:
        UserError: One is out of range.

    Source: S. Holm 1979.
    """
    values = np.asarray(p_values, float)
    if not ((values >= 0) & (values <= 1)).all():
        raise UserError(f"p-values must be between 0 and 1, got {list(p_values)}")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)), 1.0)
    return [float(value) for value in adjusted]


def episodes_needed(only_first: float, only_second: float, *, power: float = 0.8, confidence: float = 0.95) -> int:
    """How many paired episodes tell two methods apart, if they differ as much as has been seen.

    Args:
        only_first: Share of the episodes that only the first one solves, 0 to 1.
        only_second: Share that only the second one solves.
        power: How often the difference is to be found, between 0 and 1 exclusive.
        confidence: 1 less the rate of false alarms, between 0 and 1 exclusive.

    Raises:
        UserError: A share is out of range, or they are equal, so that no number is enough.

    Source: R. Connor 1987, "Sample size for testing differences in proportions for the paired-sample design".
    """
    discordant, difference = only_first + only_second, abs(only_first - only_second)
    if min(only_first, only_second) < 0 or discordant > 1:
        raise UserError(f"shares must be at least 0 and together at most 1, got {only_first} and {only_second}")
    if difference == 0:
        raise UserError(f"both solve as many episodes that the other misses ({only_first}): no number tells them apart")
    alarm, miss = _quantiles(power, confidence)
    width = alarm * math.sqrt(discordant) + miss * math.sqrt(discordant - difference**2)
    return max(math.ceil((width / difference) ** 2), _LEAST_EPISODES)


def episodes_needed_for_means(
    difference: float, deviation: float, *, power: float = 0.8, confidence: float = 0.95
) -> int:
    """How many paired episodes tell two mean returns apart, if they differ as much as has been seen.

    Args:
        difference: Of the means.
        deviation: Standard deviation of the episodes' differences, positive.
        power: How often the difference is to be found, between 0 and 1 exclusive.
        confidence: 1 less the rate of false alarms, between 0 and 1 exclusive.

    Raises:
        UserError: There is no difference, so that no number is enough, or a number is out of range.
    """
    if difference == 0 or deviation <= 0:
        raise UserError(f"a difference of {difference} that varies by {deviation} needs no number of episodes")
    return max(math.ceil((sum(_quantiles(power, confidence)) * deviation / difference) ** 2), _LEAST_EPISODES)


def _quantiles(power: float, confidence: float) -> tuple[float, float]:
    """Standard deviations that keep false alarms and misses as rare as wanted."""
    check_confidence(confidence)
    if not 0.0 < power < 1.0:
        raise UserError(f"power is {power}, it must be between 0 and 1 exclusive")
    return float(stats.norm.ppf((1 + confidence) / 2)), float(stats.norm.ppf(power))
