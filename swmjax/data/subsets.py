"""Some episodes of a dataset; and a dataset split into such parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError, check_whole, is_finite_number
from swmjax.data.clips import Arrays, Clips, Indices
from swmjax.data.over import Over
from swmjax.data.windows import Dataset, Transform


class EpisodeSubset(Over):
    """Some episodes of a dataset.

    Args:
        dataset: Of which they are.
        episodes: Their numbers, in the order that they get here.
        transform: Changes the columns of one window, behind the transform of the dataset.

    Raises:
        UserError: There is no such episode.
    """

    def __init__(self, dataset: Dataset, episodes: Indices, transform: Transform | None = None):
        numbers = np.asarray(episodes, np.int64).reshape(-1)
        for number in numbers.tolist():
            check_whole("episode", number, 0, len(dataset.lengths) - 1)
        super().__init__(dataset, transform)
        self.episodes = numbers
        self.lengths = dataset.lengths[numbers]
        self.offsets = np.cumsum(self.lengths) - self.lengths
        self.clip_indices = Clips(dataset.clip_indices.counts[numbers])

    def _fetch(
        self,
        episodes: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        length: int,
        columns: Sequence[str] | None = None,
        out: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        return self.dataset.slices(self.episodes[episodes], starts, length, columns, out)

    def _windows(
        self, indices: Indices, columns: Sequence[str] | None = None, out: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        episodes, starts = self.clip_indices.locate(indices)
        numbers = self.dataset.clip_indices.number(self.episodes[episodes], starts)
        return self.dataset.windows(numbers, columns, out)

    def _read(self, columns: Sequence[str], rows: Int64[np.ndarray, " R"]) -> dict[str, np.ndarray]:
        episodes = np.searchsorted(self.offsets, rows, side="right") - 1
        return self.dataset._read(
            columns, self.dataset.offsets[self.episodes[episodes]] + rows - self.offsets[episodes]
        )

    def get_episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes by name, one for each that is asked for; of all episodes if None."""
        wanted = self.episodes if episodes is None else self.episodes[np.asarray(episodes, np.int64)]
        return self.dataset.get_episode_data(wanted.tolist())


def split_episodes(dataset: Dataset, fractions: Sequence[float], seed: int | None = 0) -> list[EpisodeSubset]:
    """Split a dataset by episode, so that no window of one part overlaps one of another.

    Args:
        dataset: What is split.
        fractions: Of the episodes, for each part; they sum to 1.
        seed: Of the order in which episodes are dealt out; None for their own.

    Returns:
        The parts, each with at least one episode, in ascending order.

    Raises:
        UserError: The fractions are none, or a part gets no episode.
    """
    fine = len(fractions) > 0 and all(is_finite_number(each) and each > 0 for each in fractions)
    if not fine or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"fractions must be above 0 and sum to 1, got {list(fractions)}")
    count = len(dataset.lengths)
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    ends = np.round(np.cumsum(fractions) * count).astype(np.int64)
    parts = [np.sort(part) for part in np.split(order, ends[:-1])]
    if not all(map(len, parts)):
        raise UserError(f"{count} episodes split by {list(fractions)} leave a part without any")
    return [EpisodeSubset(dataset, part) for part in parts]
