"""Figures of evaluations: intervals, comparisons of methods, and how much they can tell."""

from swmjax.world.statistics.intervals import mean_interval, paired_interval, wilson_interval
from swmjax.world.statistics.latency import Latency
from swmjax.world.statistics.paired import (
    PairedComparison,
    PairedMeans,
    compare_means,
    compare_paired,
    episodes_needed,
    episodes_needed_for_means,
    holm,
    mcnemar,
)
from swmjax.world.statistics.profiles import performance_profile, probability_of_improvement
from swmjax.world.statistics.resampling import clustered_interval, interquartile_mean, stratified_interval
from swmjax.world.statistics.sequential import PairedTest

__all__ = [
    "Latency",
    "PairedComparison",
    "PairedMeans",
    "PairedTest",
    "clustered_interval",
    "compare_means",
    "compare_paired",
    "episodes_needed",
    "episodes_needed_for_means",
    "holm",
    "interquartile_mean",
    "mcnemar",
    "mean_interval",
    "paired_interval",
    "performance_profile",
    "probability_of_improvement",
    "stratified_interval",
    "wilson_interval",
]
