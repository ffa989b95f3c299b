"""What a training writes down on the way: a table of its evaluations."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from envs_mjx.checks import UserError
from swmjax.runs.files import replacing

Row = dict[str, float]
TABLE = "progress.csv"
COLUMNS = ("epoch", "steps", "updates", "seconds")
"""First columns of the table: steps, gradient steps and s of training so far; figures of the evaluation and of the last
epoch follow."""


def write_table(run: Path, rows: Sequence[Row]) -> None:
    """Write `progress.csv`, one row an evaluation; the old file is replaced at once."""
    first = list(rows[0])
    names = [*first, *sorted({name for row in rows for name in row} - set(first))]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval=math.nan, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(run / TABLE) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="\n")


def read_table(run: Path, last_epoch: int, *figures: str) -> list[Row]:
    """Rows of `progress.csv` up to an epoch; none if there is no such file.

    Args:
        run: the run folder.
        last_epoch: the epoch.
        *figures: columns that must be there besides the first.

    Raises:
        UserError: the file is damaged; names it.
    """
    path = run / TABLE
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(file)]
        expected = (*COLUMNS, *figures)
        if any(set(expected) - set(row) for row in rows):
            raise UserError(f"expected the columns {', '.join(expected)}")
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: is damaged, {error}") from error
    return [row for row in rows if row["epoch"] <= last_epoch]


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
