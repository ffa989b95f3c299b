"""Columns of numbers that are kept in memory once much of them has been read."""

from __future__ import annotations

import collections
import contextlib
import math
import threading
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.formats.base import Reader

_BYTES = 256 * 2**20
"""Of all that is kept of one dataset."""
_SHARE = 8
"""A column is kept once so large a part of it has been asked for; to read it through is many times as fast a row."""


class Kept:
    """Columns of numbers of a dataset, from when much of them has been asked for.

    A few bytes take about as long to find as an image does, and all of them together are small.

    Args:
        reader: The dataset.
    """

    def __init__(self, reader: Reader):
        self._reader, self._free = reader, _BYTES
        self._asked: collections.Counter[str] = collections.Counter()
        self._tried: set[str] = set()
        self._columns: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_reader": self._reader}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_reader"])  # type: ignore[misc]

    def column(self, name: str, rows: int) -> np.ndarray | None:
        """All rows of a column; None if those that are wanted are to be read.

        Args:
            name: Of the column.
            rows: How many are wanted now.
        """
        kept = self._columns.get(name)
        if kept is not None:
            return kept
        stored = self._reader.columns[name]
        size = self._reader.rows * math.prod(stored.shape) * stored.dtype.itemsize
        if stored.kind != "number" or size > self._free:
            return None
        with self._lock:
            self._asked[name] += rows
            if name in self._tried or self._asked[name] * _SHARE <= self._reader.rows or size > self._free:
                return self._columns.get(name)
            self._tried.add(name)
            self._free -= size
        # Those who ask meanwhile read what they want; so do all, for good, if a row that nobody wants cannot be read.
        with contextlib.suppress(UserError):
            self._columns[name] = self._reader.read([name], np.arange(self._reader.rows))[name]
        return self._columns.get(name)
