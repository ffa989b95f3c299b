"""Work on many rows at once, in threads of this process; for calls that release the interpreter's lock."""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int64

_COPY = 2**20
"""Bytes that a thread copies at once."""


def each(work: Callable[[int], None], count: int) -> None:
    """Call `work` with every number below `count`, in as many threads as this process has cores.

    The calling thread works as well, so that nothing waits for itself where `work` or other threads call this, too.

    Args:
        work: What to do with a number; calls may overlap, and come in any order.
        count: How many there are.

    Raises:
        BaseException: What the failed call with the lowest number has raised; no more are begun after it.
    """
    numbers, failures = itertools.count(), list[tuple[int, BaseException]]()

    def run() -> None:
        while not failures and (number := next(numbers)) < count:
            try:
                work(number)
            except BaseException as error:  # also an interrupt: it goes on in the calling thread, when none is at work
                failures.append((number, error))

    helpers = [_pool().submit(run) for _ in range(min(count, cores()) - 1)]
    run()
    for helper in helpers:
        if not helper.cancel():
            helper.result()
    if failures:
        raise min(failures, key=lambda failure: failure[0])[1]


def take(source: np.ndarray, rows: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
    """Copy rows of an array into another one, [R, ...], in threads."""
    step = max(1, _COPY // max(1, source[:1].nbytes))

    def copy(number: int) -> None:
        part = slice(number * step, (number + 1) * step)
        np.take(source, rows[part], axis=0, out=out[part], mode="clip")

    each(copy, -(-len(rows) // step))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="swmjax-data")


if hasattr(os, "register_at_fork"):
    # A forked process has the pool without its threads and would wait for them forever.
    os.register_at_fork(after_in_child=_pool.cache_clear)
