"""The table of an evaluation, one row an episode."""

import pyarrow as pa

from swmjax.runs.table import Table

EPISODES = Table(
    "episodes",
    pa.schema(
        [
            pa.field("episode", pa.int32()),
            pa.field("seed", pa.int64()),
            pa.field("start", pa.list_(pa.float64())),
            pa.field("goal", pa.list_(pa.float64())),
            pa.field("success", pa.bool_()),
            pa.field("steps", pa.int32()),
            pa.field("final_distance", pa.float64()),
        ]
    ),
)
"""`episodes.parquet` in a run folder."""
