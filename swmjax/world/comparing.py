"""Runs of the same episodes side by side: which differ, by how much, and which cannot be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.runs.folder import RunFolder
from swmjax.world.rows import stored_episodes
from swmjax.world.statistics import (
    compare_means,
    compare_paired,
    episodes_needed,
    episodes_needed_for_means,
    holm,
    mean_interval,
    wilson_interval,
)
from swmjax.world.statistics.intervals import check_confidence

Row = dict[str, Any]
_LEAST = 2
"""Episodes that two runs must share."""
_SAME = ("env", "protocol")
"""Settings in which runs that are compared agree."""
_BUDGET = ("candidates", "iterations", "plans", "model_steps", "run_s", "device")


@dataclass(frozen=True)
class FinishedRun:
    """A run folder that is complete.

    Attributes:
        name: The folder, as it was given.
        results: The content of `results.json`.
        episodes: Rows by seed.
        skips_solved: Whether episodes that were solved at the start do not count.
    """

    name: str
    results: Mapping[str, Any]
    episodes: Mapping[int, Row]
    skips_solved: bool

    @classmethod
    def read(cls, path: str | Path) -> "FinishedRun":
        """Read a run folder of `swmjax eval`.

        Raises:
            UserError: There is none, it is damaged, or its run has not ended.
        """
        folder = RunFolder(Path(path))
        if not folder.path.is_dir():
            raise UserError(f"{path}: there is no such run folder")
        config, rows, results = folder.read_config(), stored_episodes(folder.path), folder.read_results()
        if results.get("complete") is not True:
            raise UserError(f"{path}: the run has not ended; finish it with `swmjax eval --resume {path}`")
        return cls(str(path), results, {row["seed"]: row for row in rows}, config.get("skip_solved") is True)


def compare_runs(paths: Sequence[str | Path], confidence: float = 0.95) -> dict[str, Any]:
    """Compare runs with the first of them, on the episodes that both have played.

    Args:
        paths: Run folders of `swmjax eval`, at least 2: the same environment and protocol.
        confidence: Of the intervals; 1 less this is how often a table with no real difference shows one.

    Returns:
        `measure`: `success` or `return`; `runs`: one entry a run, with its figures and its budget, and for all but the
        first `difference` (with `episodes`, `difference`, `interval`, `p_value`, `p_adjusted` by Holm, `verdict`,
        `words` and `episodes_needed`); `notes` on what the figures do not tell.

    Raises:
        UserError: A folder is no complete run, or runs are not of the same episodes; says which and how.
    """
    check_confidence(confidence)
    if len(paths) < 2:
        raise UserError(f"runs: a comparison needs at least 2 run folders, got {len(paths)}")
    runs = [FinishedRun.read(path) for path in paths]
    first, *others = runs
    for name in _SAME:
        for run in others:
            if run.results.get(name) != first.results.get(name):
                raise UserError(
                    f"{run.name}: its {name} is {run.results.get(name)}, that of {first.name} is "
                    f"{first.results.get(name)}; only runs of the same episodes can be compared"
                )
    judged = all(row["success"] is not None for run in runs for row in run.episodes.values())
    measure = "success" if judged and first.results.get("protocol") != "episodic" else "return"
    found = [_difference(run, first, measure, confidence) for run in others]
    adjusted = holm([each["p_value"] for each in found])
    for each, p_value in zip(found, adjusted, strict=True):
        each["p_adjusted"] = p_value
        each |= _verdict(each, measure, confidence)
    differences: list[dict[str, Any] | None] = [None, *found]
    table = [_figures(run, measure, confidence) for run in runs]
    for entry, difference in zip(table, differences, strict=True):
        entry["difference"] = None if difference is None else _public(difference)
    return {"measure": measure, "confidence": confidence, "runs": table, "notes": _notes(runs, found)}


def _difference(run: FinishedRun, first: FinishedRun, measure: str, confidence: float) -> dict[str, Any]:
    """What a run has over the first one, on the episodes of both."""
    seeds = sorted(set(run.episodes) & set(first.episodes))
    for seed in seeds:
        for name in ("start", "goal"):
            there, here = first.episodes[seed][name], run.episodes[seed][name]
            if there is not None and here is not None and there != here:
                raise UserError(
                    f"{run.name}: the {name} of the episode with seed {seed} is {_short(here)}, in {first.name} it is "
                    f"{_short(there)}; only runs of the same episodes can be compared"
                )
    if run.skips_solved or first.skips_solved:
        seeds = [seed for seed in seeds if not first.episodes[seed]["solved_at_start"]]
    if len(seeds) < _LEAST:
        raise UserError(
            f"{run.name}: shares {len(seeds)} episodes with {first.name}, a comparison needs at least {_LEAST}; "
            "episodes are the same if their seeds are"
        )
    ours, theirs = ([each.episodes[seed][measure] for seed in seeds] for each in (run, first))
    if measure == "success":
        found = _by_success(ours, theirs, confidence)
    else:
        found = _by_return(_numbers(ours, run), _numbers(theirs, first), confidence)
    return found | {"unpaired": len(set(run.episodes) ^ set(first.episodes)), "name": run.name}


def _by_success(ours: Sequence[bool], theirs: Sequence[bool], confidence: float) -> dict[str, Any]:
    paired = compare_paired(ours, theirs, confidence=confidence)
    shares = (paired.only_first / paired.episodes, paired.only_second / paired.episodes)
    return {
        "only_this": paired.only_first,
        "only_first": paired.only_second,
        "episodes": paired.episodes,
        "difference": paired.difference,
        "interval": [paired.low, paired.high],
        "p_value": paired.p_value,
        "episodes_needed": episodes_needed(*shares, confidence=confidence) if paired.difference else None,
    }


def _by_return(ours: np.ndarray, theirs: np.ndarray, confidence: float) -> dict[str, Any]:
    paired = compare_means(ours, theirs, confidence=confidence)
    needed = None
    if paired.difference and paired.deviation:
        needed = episodes_needed_for_means(paired.difference, paired.deviation, confidence=confidence)
    return {
        "episodes": paired.episodes,
        "difference": paired.difference,
        "interval": [paired.low, paired.high],
        "p_value": paired.p_value,
        "episodes_needed": needed,
    }


def _numbers(values: Sequence[float | None], run: FinishedRun) -> np.ndarray:
    if None in values or not np.isfinite(np.asarray(values, float)).all():
        raise UserError(f"{run.name}: not every episode has a finite return, so there is nothing to compare")
    return np.asarray(values, float)


def _verdict(difference: Mapping[str, Any], measure: str, confidence: float) -> dict[str, Any]:
    """Whether a run is better or worse, and in words."""
    if difference["p_adjusted"] <= 1 - confidence and difference["difference"]:
        verdict = "better" if difference["difference"] > 0 else "worse"
        return {"verdict": verdict, "words": verdict}
    if not difference["difference"]:
        same = "the same number of successes" if measure == "success" else "the same mean return"
        return {"verdict": "undecided", "words": f"{same}; that is no proof of equality"}
    needed = difference["episodes_needed"]
    if needed is None or needed <= difference["episodes"]:
        # The table is stricter than a single comparison, for which the number is.
        return {"verdict": "undecided", "words": "cannot be told apart with as many comparisons in one table"}
    return {
        "verdict": "undecided",
        "words": f"cannot be told apart; a difference of this size takes about {needed:,} paired episodes",
    }


def _public(difference: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in difference.items() if name not in ("name", "unpaired")}


def _figures(run: FinishedRun, measure: str, confidence: float) -> dict[str, Any]:
    """What a run came to by itself, and what it took."""
    rows = [row for row in run.episodes.values() if not (run.skips_solved and row["solved_at_start"])]
    values = [row[measure] for row in rows]
    rate: float | None = float(np.mean(values)) if values and None not in values else None
    interval: list[float] | None = None
    if measure == "success" and rate is not None:
        interval = list(wilson_interval(sum(values), len(values), confidence))
    elif rate is not None and len(values) > 1 and np.isfinite(values).all():
        interval = list(mean_interval(values, confidence))
    names = ("env", "model", "solver", "protocol")
    return {
        "run": run.name,
        **{name: run.results.get(name) for name in names},
        "episodes": len(rows),
        "mean": rate,
        "interval": interval,
        "budget": {name: run.results.get(name) for name in _BUDGET},
    }


def _notes(runs: Sequence[FinishedRun], found: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = []
    for each in found:
        if each["unpaired"]:
            notes.append(f"{each['name']}: {each['unpaired']} episodes that only one of the two runs has are left out")
    for run in runs:
        solved = sum(row["solved_at_start"] or 0 for row in run.episodes.values())
        if solved and not run.skips_solved:
            notes.append(f"{run.name}: {solved} of {len(run.episodes)} problems are solved at the start and count")
        plans, failed = (run.results.get(name) or 0 for name in ("plans", "failed_plans"))
        if failed:
            notes.append(f"{run.name}: {failed} of {plans} plans failed, so it says little of the model")
    return notes


def _short(vector: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in vector[:4])
    return f"[{shown}{', ...' if len(vector) > 4 else ''}]"
