"""What a training writes down on the way: a table of evaluations and the learning curve."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from envs_mjx.checks import UserError, needs_extra
from swmjax.runs.files import replacing

Row = dict[str, float]
TABLE = "progress.csv"
CURVE = "learning_curve.png"
COLUMNS = ("epoch", "steps", "updates", "seconds", "return_mean", "return_std", "return_min", "return_max", "length")
"""First columns of the table: steps of the environments, gradient steps, s of training, sums of rewards of evaluation
episodes and their mean length; the losses follow."""


def write_table(run: Path, rows: Sequence[Row]) -> None:
    """Write `progress.csv`, one row an evaluation; the old file is replaced at once."""
    names = [*COLUMNS, *sorted({name for row in rows for name in row} - set(COLUMNS))]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval=math.nan, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(run / TABLE) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="\n")


def read_table(run: Path, last_epoch: int) -> list[Row]:
    """Rows of `progress.csv` up to an epoch; none if there is no such file.

    Raises:
        UserError: the file is damaged; names it.
    """
    path = run / TABLE
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(file)]
        if any(set(COLUMNS) - set(row) for row in rows):
            raise UserError(f"expected the columns {', '.join(COLUMNS)}")
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: is damaged, {error}") from error
    return [row for row in rows if row["epoch"] <= last_epoch]


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


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
