"""Where the reference's folders of Lance tables hold steps, and where their videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.formats import lance_layout
from swmjax.data.formats.base import EPISODE

KEY, BYTES = "video_key", "video_bytes"
VIDEOS = "_videos.lance"
SCHEMA = pa.schema(
    [
        pa.field(EPISODE, pa.int32()),
        pa.field(KEY, pa.string()),
        pa.field(BYTES, pa.large_binary(), metadata={b"lance-encoding:blob": b"true"}),
    ]
)


def has_videos(table: Path) -> bool:
    """Whether a table of videos lies beside that of the steps."""
    return table.suffix == lance_layout.SUFFIX and Path(lance_layout.beside(table, "videos")).is_dir()


def steps_in(folder: Path) -> Path | None:
    """The table of the steps in a folder that is a dataset of this layout; None if it is none."""
    found = [table for table in lance_layout.tables_in(folder) if has_videos(table)]
    return found[0] if len(found) == 1 else None


def rows_of_videos(dataset: Any, path: str, episodes: int) -> dict[str, Int64[np.ndarray, " E"]]:
    """Rows of the table of videos, by column of images: that of each episode, -1 where there is none.

    Args:
        dataset: The table.
        path: Of it, for messages.
        episodes: How many there are; videos of later ones belong to no episode.

    Raises:
        UserError: It is damaged, or leads to other files.
    """
    missing = [name for name in SCHEMA.names if name not in dataset.schema.names]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}, so it is no table of videos")
    try:
        table = dataset.to_table(columns=SCHEMA.names)
        _check_inside(table.column(BYTES), path)
        numbers, keys = table.column(EPISODE).to_numpy(), table.column(KEY).to_pylist()
    except UserError:
        raise
    except Exception as error:
        raise lance_layout.unreadable(path, error) from error
    found: dict[str, np.ndarray] = {}
    for row, (number, key) in enumerate(zip(numbers.tolist(), keys, strict=True)):
        if number is not None and 0 <= number < episodes and key is not None:
            found.setdefault(key, np.full(episodes, -1, np.int64))[number] = row
    return found


def _check_inside(videos: pa.ChunkedArray, path: str) -> None:
    """UserError if the bytes of a video lie elsewhere: Lance would fetch them from any address."""
    if not pa.types.is_struct(videos.type) or "blob_uri" not in {field.name for field in videos.type}:
        return
    for chunk in videos.chunks:
        if any(chunk.field("blob_uri").to_pylist()):
            raise UserError(f"{path}: videos lie outside of the dataset, from where they are not read")
