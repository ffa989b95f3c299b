"""Goals for windows, drawn from the dataset itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from envs_mjx.checks import UserError, check_name, check_number, check_whole, is_finite_number
from swmjax.data.clips import Arrays, Clips, Indices, empty_rows
from swmjax.data.over import Over
from swmjax.data.windows import Dataset, Transform

_KINDS = ("random", "geometric future", "uniform future", "current")
_GOALS = {"pixels": "goal_pixels", "proprio": "goal_proprio"}
_LEAST = 1e-6
"""Chance, at least, that a geometric future ends at a step."""


class GoalDataset(Over):
    """Windows with a goal each, a step of the dataset, in columns of their own: [1, ...].

    A goal is, with these probabilities, any step of any episode; a later step of the window's episode, few steps after
    the current one (geometric) or any (uniform); or the current step itself.

    Args:
        dataset: Where windows and goals come from.
        goal_probabilities: Of a random goal, a geometric future, a uniform future, and the current step.
        gamma: A geometric future is k steps ahead with a probability in proportion to `gamma ** k`.
        current_goal_offset: Which step is the current one, counted from 1; the last of the window if None.
        goal_keys: Columns of goals by the column that they come from; if None, `goal_pixels` and `goal_proprio` for
            `pixels` and `proprio`, as far as they are there.
        seed: Of the draws; one that nobody can know if None. They are those of the reference, window after window in
            the order in which they are asked for; `seeded` has them depend on a key instead.
        transform: Changes the columns of one window, behind the transform of the dataset.

    Raises:
        UserError: A number is out of range, or there is no such column.

    Source: reference, `data/dataset.py`.
    """

    def __init__(
        self,
        dataset: Dataset,
        goal_probabilities: Sequence[float] = (0.3, 0.5, 0.0, 0.2),
        gamma: float = 0.99,
        current_goal_offset: int | None = None,
        goal_keys: Mapping[str, str] | None = None,
        seed: int | None = None,
        transform: Transform | None = None,
    ):
        fine = all(is_finite_number(each) and each >= 0 for each in goal_probabilities)
        if len(goal_probabilities) != len(_KINDS) or not fine or not np.isclose(sum(goal_probabilities), 1.0):
            raise UserError(
                f"goal_probabilities must be numbers that sum to 1, for {', '.join(_KINDS)}, "
                f"got {list(goal_probabilities)}"
            )
        check_number("gamma", gamma, least=0.0, most=1.0)
        offset = dataset.num_steps if current_goal_offset is None else current_goal_offset
        check_whole("current_goal_offset", offset, 1)
        super().__init__(dataset, transform)
        self.goal_probabilities, self.gamma, self.current_goal_offset = tuple(goal_probabilities), gamma, offset
        known = {source: goal for source, goal in _GOALS.items() if source in dataset.columns}
        self.goal_keys = known if goal_keys is None else dict(goal_keys)
        for source in () if dataset.transforms else self.goal_keys:
            check_name("column", source, dataset.columns)
        self.clip_indices = self._clips()
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self._ends = np.cumsum(self.lengths)

    def _clips(self) -> Clips:
        """Windows with a current step, and with a later one where goals may be in the future."""
        _, geometric, uniform, current = self.goal_probabilities
        needed = self.current_goal_offset if geometric or uniform else self.current_goal_offset - 1 if current else 0
        counts = np.minimum(self.dataset.clip_indices.counts, np.maximum(self.lengths - needed * self.frameskip, 0))
        return Clips(counts)

    @property
    def window_columns(self) -> list[str]:
        """Names of the columns of windows, but for those that a transform makes."""
        return list(dict.fromkeys([*self.dataset.window_columns, *self.goal_keys.values()]))

    def seeded(self, *key: int) -> GoalDataset:
        """This dataset with its draws made of its seed, if it has one, and a key."""
        made = super().seeded(*key)
        assert isinstance(made, GoalDataset)
        made.rng = np.random.default_rng([*key] if self.seed is None else [self.seed, *key])
        return made

    def _windows(
        self, indices: Indices, columns: Sequence[str] | None = None, out: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        episodes, starts = self.clip_indices.locate(indices)
        numbers = self.dataset.clip_indices.number(episodes, starts)
        windows = self.dataset.windows(numbers, columns, out)
        if not self.goal_keys:
            return windows
        goals = [self._draw(episode, start) for episode, start in zip(episodes.tolist(), starts.tolist(), strict=True)]
        where = np.asarray(goals, np.int64).reshape(-1, 2)
        into = None if out is None else {source: out[goal] for source, goal in self.goal_keys.items() if goal in out}
        steps = self.dataset.slices(where[:, 0], where[:, 1], 1, list(self.goal_keys), into)
        named = {goal: steps[source] for source, goal in self.goal_keys.items() if source in steps}
        return {**windows, **named}

    def _draw(self, episode: int, start: int) -> tuple[int, int]:
        """The episode of a goal, and its row in it, for a window."""
        kind = int(np.searchsorted(np.cumsum(self.goal_probabilities)[:-1], self.rng.random(), side="right"))
        if kind == 0:
            row = int(self.rng.integers(0, self._ends[-1]))
            episode = int(np.searchsorted(self._ends, row, side="right"))
            return episode, row - int(self.offsets[episode])
        current = start + (self.current_goal_offset - 1) * self.frameskip
        most = (int(self.lengths[episode]) - 1 - current) // self.frameskip
        if kind == 1:
            ahead = min(int(self.rng.geometric(max(1.0 - self.gamma, _LEAST))), most)
        else:
            ahead = int(self.rng.integers(1, most + 1)) if kind == 2 else 0
        return episode, current + ahead * self.frameskip

    def _empty(self, size: int) -> dict[str, np.ndarray]:
        goals = {goal: empty_rows(self.columns[source], (size, 1)) for source, goal in self.goal_keys.items()}
        return {**self.dataset._empty(size), **goals}
