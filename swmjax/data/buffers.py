"""Arrays that are filled again and again, as soon as nobody looks at what was in them."""

import sys
import threading
from collections.abc import Callable, Mapping

import numpy as np

_ALIGNMENT = 64
"""Bytes; where arrays begin on a multiple of it, JAX on a CPU takes them as they are."""


class Buffers:
    """Sets of arrays for batches: new memory has to be mapped page by page, which takes as long as filling it does.

    A set is handed out again when no view of its arrays is left, be it held by the user, by a library, or by JAX, which
    on a CPU looks into them for as long as its own array lives, and on other devices until they are copied.

    Args:
        arrays: Says, by their shapes, dtypes and the order of their axes in memory, what is wanted.
    """

    def __init__(self, arrays: Callable[[], Mapping[str, np.ndarray]]):
        self._arrays = arrays
        self._sets: list[dict[str, np.ndarray]] = []
        self._lock = threading.Lock()

    def take(self) -> dict[str, np.ndarray]:
        """Arrays with anything in them."""
        with self._lock:
            free = [each for each in self._sets if not any(map(_looked_at, each.values()))]
            if not free:
                free = [{name: _aligned(array) for name, array in self._arrays().items()}]
                self._sets += free
            elif len(free) > 2:  # somebody held many batches at once, and does not any more
                self._sets = [each for each in self._sets if not any(each is one for one in free[2:])]
            return {name: array.view() for name, array in free[0].items()}


def _aligned(like: np.ndarray) -> np.ndarray:
    """A view of new memory, which nothing else looks at, with the axes in memory in the order of another array."""
    if like.dtype == object:
        return np.empty(like.shape, object).view()
    axes = np.argsort([-stride for stride in like.strides], kind="stable")
    memory = np.empty(like.nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    shaped = np.ndarray(tuple(np.take(like.shape, axes)), like.dtype, memory, start)
    return shaped.transpose(np.argsort(axes))


def _references(array: np.ndarray) -> int:
    """References to the memory that an array of `_aligned` looks at; every view of it is one."""
    return sys.getrefcount(array.base)


_UNSEEN = _references(_aligned(np.empty(1)))


def _looked_at(array: np.ndarray) -> bool:
    return _references(array) > _UNSEEN
