"""The table of an evaluation, one row an episode."""

from collections.abc import Sequence

import pyarrow as pa

from swmjax.runs.table import Table

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


def factor_column(name: str) -> str:
    """The column of a factor of variation."""
    return f"variation.{name}"


EPISODES = episodes_table()
"""`episodes.parquet` where no factor of variation is asked for."""
