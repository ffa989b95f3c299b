"""Intervals of success rates, of means, and of differences on the same problems."""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats

from envs_mjx.checks import UserError


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a success rate, sensible for few trials and for rates near 0 and 1.

    Args:
        successes: how many trials succeeded, 0 to `trials`.
        trials: how many were run, at least 1.
        confidence: how often such an interval holds the true rate, between 0 and 1 exclusive.

    Returns:
        Lower and upper bound, 0 to 1; exactly 0 without a success and exactly 1 without a failure.

    Raises:
        UserError: if a number is out of its range.

    Source: E. B. Wilson 1927; R. G. Newcombe 1998, method 3.
    """
    if trials < 1:
        raise UserError(f"trials is {trials}, an interval needs at least 1")
    if not 0 <= successes <= trials:
        raise UserError(f"successes is {successes}, it must be between 0 and trials ({trials})")
    check_confidence(confidence)
    # From the lower tail: 0.5 + confidence / 2 rounds to 1 for a confidence close to 1.
    z = -statistics.NormalDist().inv_cdf((1.0 - confidence) / 2.0)
    centre = successes + z * z / 2.0
    spread = z * math.sqrt(successes * (trials - successes) / trials + z * z / 4.0)
    low = 0.0 if successes == 0 else (centre - spread) / (trials + z * z)
    high = 1.0 if successes == trials else (centre + spread) / (trials + z * z)
    return low, high


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a mean, such as that of returns, by Student's t.

    Args:
        values: Independent measurements, at least 2.
        confidence: How often such an interval holds the true mean, between 0 and 1 exclusive.

    Returns:
        Lower and upper bound; both the mean where all values are equal.

    Raises:
        UserError: There are fewer than 2 values, one is not finite, or the confidence is out of range.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        raise UserError(f"values must be at least 2 finite numbers, got {list(values)}")
    check_confidence(confidence)
    numbers = np.asarray(values, float)
    reach = _reach(numbers, confidence)
    mean = float(numbers.mean())
    return mean - reach, mean + reach


def paired_interval(
    successes: Sequence[Sequence[bool]], reference: Sequence[bool], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Difference of two success rates on the same problems, and its interval over problems.

    Pairing takes out how hard each problem is, which is most of the variance.

    Args:
        successes: One row a seed, one column a problem.
        reference: What to compare with, one entry a problem.
        confidence: How often such an interval holds the true difference, between 0 and 1 exclusive.

    Returns:
        Mean difference, lower and upper bound, each from -1 to 1; by Student's t over the problems' mean differences.

    Raises:
        UserError: The numbers of problems differ, there are fewer than 2, or the confidence is out of range.
    """
    rows = np.asarray(successes, float)
    other = np.asarray(reference, float)
    if rows.ndim != 2 or rows.shape[0] < 1 or other.shape != (rows.shape[1],) or other.size < 2:
        raise UserError(
            f"successes must be [seeds, problems] and reference [problems] with at least 2 problems, "
            f"got {list(rows.shape)} and {list(other.shape)}"
        )
    check_confidence(confidence)
    differences = rows.mean(0) - other
    mean = float(differences.mean())
    reach = _reach(differences, confidence)
    return mean, max(mean - reach, -1.0), min(mean + reach, 1.0)


def _reach(values: np.ndarray, confidence: float) -> float:
    """Half of the width of the interval of a mean."""
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return float(stats.t.ppf((1.0 + confidence) / 2.0, values.size - 1)) * error


def check_confidence(confidence: float) -> None:
    """Raise `UserError` unless a confidence lies between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise UserError(f"confidence is {confidence}, it must be between 0 and 1 exclusive")
