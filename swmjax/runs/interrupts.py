"""Stopping a run: the first signal that ends programs lets it finish what it is at, the second one interrupts it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What a terminal sends, what batch systems and containers send, and what is sent when the terminal goes away."""
_TICK = 0.25
_interrupted: set[int] = set()
"""Signals that have interrupted this program within `interruptible`."""


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

    def remember(number: int, frame: Any) -> None:
        stop.asked = True
        again()
        with contextlib.suppress(OSError):  # the terminal may be what went away
            stop.confirm()

    with _handled(remember) as again:
        if _interrupted:
            raise KeyboardInterrupt
        yield stop


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Every signal that ends programs interrupts as Ctrl-C does, so that what is half done is cleared away.

    Where the interrupt is lost, as in code that catches whatever an import raises, the next run does not begin.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        _interrupted.add(number)
        raise KeyboardInterrupt

    try:
        with _handled(interrupt):
            yield
    finally:
        _interrupted.clear()


@contextlib.contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[Callable[[], None]]:
    """Handle all signals that end programs; yields what has the next one interrupt."""
    usual = {number: signal.getsignal(number) for number in _SIGNALS}
    # What a program in the background is told to ignore stays ignored, and what is not Python's is left alone.
    heard = {number: usual[number] for number in _SIGNALS if usual[number] not in (signal.SIG_IGN, None)}

    def interrupt() -> None:
        for number, before in heard.items():
            signal.signal(number, signal.default_int_handler if before is signal.SIG_DFL else before)

    for number in heard:
        signal.signal(number, handler)
    try:
        yield interrupt
    finally:
        for number, before in heard.items():
            signal.signal(number, before)


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
