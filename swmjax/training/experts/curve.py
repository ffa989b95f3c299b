"""The learning curve of an expert."""

from collections.abc import Sequence
from pathlib import Path

from envs_mjx.checks import needs_extra
from swmjax.runs.files import replacing
from swmjax.training.progress import Row

CURVE = "learning_curve.png"


def draw_curve(run: Path, rows: Sequence[Row], random_return: float, title: str) -> None:
    """Draw `learning_curve.png`: mean return of the evaluations with its extremes, beside random actions.

    Args:
        run: the run folder.
        rows: rows of the table.
        random_return: mean return of uniformly random actions.
        title: above the curve.

    Raises:
        MissingExtraError: matplotlib is not installed; the message says how to install it.
    """
    with needs_extra("the learning curve needs", "plot"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(7.0, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    steps = [row["steps"] for row in rows]
    lowest, highest = ([row[name] for row in rows] for name in ("return_min", "return_max"))
    axes.fill_between(steps, lowest, highest, alpha=0.2, linewidth=0, label="lowest to highest")
    axes.plot(steps, [row["return_mean"] for row in rows], marker="o", markersize=3, label="mean")
    axes.axhline(random_return, color="grey", linestyle="--", linewidth=1, label="random actions")
    axes.set(xlabel="environment steps", ylabel="return of an evaluation episode", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    with replacing(run / CURVE) as temporary:
        figure.savefig(temporary)
