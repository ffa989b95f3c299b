"""The table of an evaluation, one row an episode."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from swmjax.runs.table import Table

_FACTOR = "variation."
_ALWAYS = (
    pa.field("episode", pa.int32()),
    pa.field("seed", pa.int64()),
    pa.field("start", pa.list_(pa.float64())),
    pa.field("goal", pa.list_(pa.float64())),
    pa.field("success", pa.bool_()),
    pa.field("steps", pa.int32()),
    pa.field("final_distance", pa.float64()),
    pa.field("return", pa.float64()),
    pa.field("ended", pa.bool_()),
    pa.field("solved_at_start", pa.bool_()),
    pa.field("plans", pa.int32()),
    pa.field("failed_plans", pa.int32()),
)
_NOT_EVERYWHERE = {"start", "goal", "success", "final_distance"}
"""Columns that are empty where an environment has no goals, or nothing to succeed in."""
_NEW = {"return", "ended", "solved_at_start", "plans", "failed_plans"}
"""Columns that tables of format 1 lack."""


def episodes_table(factors: Sequence[str] = ()) -> Table:
    """`episodes.parquet` in a run folder.

    Args:
        factors: Factors of variation whose values are columns, `variation.NAME`.
    """
    varied = [pa.field(factor_column(name), pa.list_(pa.float64())) for name in factors]
    return Table("episodes", pa.schema([*_ALWAYS, *varied]), frozenset(_NOT_EVERYWHERE | _NEW))


def stored_episodes(run: Path) -> list[dict[str, Any]]:
    """The rows of a run folder, whatever factors of variation they tell of.

    Raises:
        UserError: The table is missing or damaged, or has other columns; names it.
    """
    path, factors = episodes_table().path(run), []
    if path.exists():
        with contextlib.suppress(pa.ArrowException, OSError):  # `read` says what is wrong
            factors = [name.removeprefix(_FACTOR) for name in pq.read_schema(path).names if name.startswith(_FACTOR)]
    return episodes_table(factors).read(run)


def factor_column(name: str) -> str:
    """The column of a factor of variation."""
    return _FACTOR + name


EPISODES = episodes_table()
"""`episodes.parquet` where no factor of variation is asked for."""
