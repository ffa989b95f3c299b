"""Stopping a run: the first Ctrl-C or SIGTERM lets it finish what it is at, the second one interrupts it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What a terminal sends, and what batch systems and containers send."""
_TICK = 0.25


class Stopped(KeyboardInterrupt):
    """The user stopped a run; what was finished is kept.

    Attributes:
        done: How much that is, in the unit of the run.
    """

    def __init__(self, done: int):
        super().__init__()
        self.done = done


@dataclass
class Stop:
    """Whether a run is asked to stop.

    Attributes:
        confirm: Called once, within the signal's handler.
        asked: Whether it is.
    """

    confirm: Callable[[], None]
    asked: bool = False

    @contextlib.contextmanager
    def confirming(self, confirm: Callable[[], None]) -> Iterator[None]:
        """A part of the run in which the user is told something else."""
        before, self.confirm = self.confirm, confirm
        try:
            yield
        finally:
            self.confirm = before


@contextlib.contextmanager
def asked_to_stop(confirm: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """What the first signal sets, after which it is confirmed; a second one interrupts as usual.

    An interrupt in the middle of a compiled call would lose what the call has consumed.

    Args:
        confirm: Called once, within the signal's handler.
    """
    stop = Stop(confirm)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    # What a program in the background is told to ignore stays ignored.
    usual = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def remember(number: int, frame: Any) -> None:
        stop.asked = True
        restore()
        stop.confirm()

    for number in usual:
        signal.signal(number, remember)
    try:
        yield stop
    finally:
        restore()


def attentively(call: Callable[[], T], tick: Callable[[], None] = lambda: None) -> T:
    """The result of a call that listens to no signal, such as compiling or running a program.

    Python handles signals in the main thread, between two instructions; the call gets a thread of its own, so that the
    main thread stays free for them. A call that is interrupted nevertheless goes on in the background, and the
    interpreter waits for it at its end: one that ends while XLA is at work in a thread aborts.

    Args:
        call: What to do.
        tick: Called several times a second until it is done.
    """
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # whatever it is, it belongs to the caller
            result.set_exception(error)

    threading.Thread(target=work).start()
    while not wait([result], _TICK).done:
        tick()
    return result.result()
