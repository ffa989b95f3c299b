"""What datasets that stand on one other have in common."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from swmjax.data.clips import Arrays
from swmjax.data.windows import Dataset, Transform


class Over(Dataset):
    """A dataset that passes on what another gives, until a subclass has it do something else.

    Args:
        dataset: The other.
        transform: Changes the columns of one window, behind the transform of the other.
    """

    def __init__(self, dataset: Dataset, transform: Transform | None):
        self.dataset, self.transform = dataset, transform
        self.num_steps, self.frameskip, self.columns = dataset.num_steps, dataset.frameskip, dataset.columns
        self.lengths, self.offsets, self.clip_indices = dataset.lengths, dataset.offsets, dataset.clip_indices

    @property
    def transforms(self) -> bool:
        """Whether windows are transformed, here or in a dataset that this one stands on."""
        return self.transform is not None or self.dataset.transforms

    @property
    def window_columns(self) -> list[str]:
        """Names of the columns of windows, but for those that a transform makes."""
        return self.dataset.window_columns

    @property
    def episode_column_names(self) -> list[str]:
        """Names of the values that belong to whole episodes."""
        return self.dataset.episode_column_names

    def get_episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes by name, one for each that is asked for; of all episodes if None."""
        return self.dataset.get_episode_data(episodes)

    def seeded(self, *key: int) -> Over:
        """This dataset with what the one below draws at random made of a key."""
        made = copy.copy(self)
        made.dataset = self.dataset.seeded(*key)
        return made

    def _fetch(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        return self.dataset.slices(episodes, starts, length, columns, out)

    def _empty(self, size: int) -> dict[str, np.ndarray]:
        return self.dataset._empty(size)

    def _read(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> dict[str, np.ndarray]:
        return self.dataset._read(columns, rows)

    def _row_columns(self) -> list[str]:
        return self.dataset._row_columns()
