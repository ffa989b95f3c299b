"""Transforms of windows; unlike closures they may be pickled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from swmjax.data.clips import Window
from swmjax.data.windows import Transform


class ColumnTransform:
    """Makes one column of windows of another.

    Args:
        lambd: Makes the new column.
        source: The column that it is made of.
        target: The new column.
    """

    def __init__(self, lambd: Callable[[Any], Any], source: str, target: str):
        self.lambd, self.source, self.target = lambd, source, target

    def __call__(self, window: Window) -> Window:
        return {**window, self.target: self.lambd(window[self.source])}


class Compose:
    """Transforms one after the other.

    Args:
        transforms: In their order.
    """

    def __init__(self, transforms: Sequence[Transform]):
        self.transforms = list(transforms)

    def __call__(self, window: Window) -> Window:
        for transform in self.transforms:
            window = transform(window)
        return window
