"""The reference's first dataset of windows, with its own rule of length."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.clips import ACTION
from swmjax.data.formats.arrow import ArrowReader
from swmjax.data.formats.base import EPISODE, STEP
from swmjax.data.windows import Transform, Windows
from swmjax.runs.paths import home


class StepsDataset(Windows):
    """Windows of a dataset of Arrow shards, all of whose episodes are longer than a window.

    Args:
        path: The dataset, absolute or relative to `cache_dir`.
        num_steps: Steps of a window.
        frameskip: Rows from one step to the next.
        cache_dir: Where datasets are; `$STABLEWM_HOME` if None.
        transform: Changes the columns of one window; images are arrays, channels first.

    Raises:
        UserError: There is no such dataset, it lacks one of the columns `episode_idx`, `step_idx` and `action`, or an
            episode is not longer than a window.

    Source: the reference's releases of 2025, `data.py`.
    """

    reader: ArrowReader

    def __init__(
        self,
        path: str | Path,
        num_steps: int = 2,
        frameskip: int = 1,
        cache_dir: str | Path | None = None,
        transform: Transform | None = None,
    ):
        self.data_dir = home(cache_dir) / path
        reader = ArrowReader(self.data_dir)
        for name in (EPISODE, STEP, ACTION):
            if name not in reader.columns:
                raise UserError(f"{self.data_dir}: has no column {name}")
        short = np.flatnonzero(reader.lengths <= num_steps * frameskip)
        if len(short):
            number, length = reader.numbers[short[0]], reader.lengths[short[0]]
            raise UserError(
                f"{self.data_dir}: episode {number} is too short, {length} rows for {num_steps} steps of {frameskip}"
            )
        super().__init__(reader, num_steps, frameskip, transform)
        self.episodes = reader.numbers

    @cached_property
    def episode_slices(self) -> dict[int, Int64[np.ndarray, " T"]]:
        """Rows of the table by number of the episode."""
        numbers = self.get_col_data(EPISODE)
        return {int(episode): self.get_episode_slice(episode, numbers) for episode in self.episodes}

    def get_episode_slice(self, episode_idx: int | np.integer, episode_indices: np.ndarray) -> Int64[np.ndarray, " T"]:
        """Rows at which a number stands among those of all rows."""
        return np.flatnonzero(episode_indices == episode_idx)

    @property
    def cum_slices(self) -> Int64[np.ndarray, " F"]:
        """Windows before each episode, and all of them."""
        return np.cumsum([0, *self.clip_indices.counts])

    @property
    def idx_to_ep(self) -> Int64[np.ndarray, " N"]:
        """The episode of each window."""
        return self.clip_indices.locate(range(len(self)))[0]

    @property
    def img_cols(self) -> set[str]:
        """Names of the columns of images."""
        return self.infer_img_path_columns()

    def infer_img_path_columns(self) -> set[str]:
        """Names of the columns whose first row is the path of an image."""
        return {name for name, column in self.columns.items() if column.kind == "image"}
