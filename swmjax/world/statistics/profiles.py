"""Two looks at many runs on many tasks that no single task or run decides.

Source: R. Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice", sections 4.2 and 4.3; defined as
their package `rliable` defines them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

from envs_mjx.checks import UserError
from swmjax.world.statistics.resampling import check_scores


def performance_profile(
    scores: Float[np.ndarray, "R M"], thresholds: Sequence[float] | np.ndarray
) -> Float[np.ndarray, " T"]:
    """The share of runs, over all tasks, that score above each threshold.

    Args:
        scores: One row a run, one column a task.
        thresholds: T scores.

    Raises:
        UserError: The scores are no table of finite numbers.
    """
    table = check_scores(scores)
    return (table[..., None] > np.asarray(thresholds, float)).mean((0, 1))


def probability_of_improvement(first: Float[np.ndarray, "R M"], second: Float[np.ndarray, "Q M"]) -> float:
    """How likely a run of the first method scores above one of the second on a task drawn at random; ties count half.

    Args:
        first: One row a run, one column a task.
        second: The same tasks; the numbers of runs may differ.

    Raises:
        UserError: They are no tables of finite numbers, or of different tasks.
    """
    ours, theirs = check_scores(first, name="first"), check_scores(second, name="second")
    if ours.shape[1] != theirs.shape[1]:
        raise UserError(f"both must be of the same tasks, got {ours.shape[1]} and {theirs.shape[1]}")
    wins = stats.mannwhitneyu(ours, theirs, axis=0, method="asymptotic").statistic
    return float((wins / (len(ours) * len(theirs))).mean())
