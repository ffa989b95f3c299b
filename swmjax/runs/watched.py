"""A run as its user sees it: where it is, what it compiles and for how long, and that it stops when asked to."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax

from swmjax.runs.exported import exported
from swmjax.runs.interrupts import Stop, Stopped, asked_to_stop, attentively
from swmjax.runs.telling import Note, Progress


@dataclass
class Watched:
    """A run.

    Attributes:
        progress: Told the stage and how much is done.
        note: Told what the user should read at once.
        stop: Whether the user has asked the run to stop.
        done: How much is done, in the unit of the run; the run itself counts.
        compile_seconds: Time of all compiling so far.
    """

    progress: Progress
    note: Note
    stop: Stop
    done: int
    compile_seconds: float = 0.0

    def show(self, stage: str) -> None:
        """Say what the run is at."""
        self.progress(stage, self.done)

    def leave_if_asked(self) -> None:
        """Raise `Stopped` if the user has asked for it; for places where nothing would be lost."""
        if self.stop.asked:
            raise Stopped(self.done)

    def compile(
        self, stage: str, function: Callable[..., Any], *args: Any, made_of: Any = None
    ) -> tuple[Callable[..., Any], float]:
        """A function compiled for its arguments, and the time that it took, s.

        A run that is asked to stop meanwhile waits for the program, so that the compilation cache keeps it.

        Args:
            stage: What the user is told, with the time passed.
            function: A pure function, or what `jax.jit` made of one.
            *args: Its arguments, or their shapes and dtypes.
            made_of: What else the function depends on, see `exported`; it is traced in every run if None.

        Raises:
            Stopped: The run was asked to stop.
        """
        self.show(stage)
        start = time.perf_counter()
        with self.stop.confirming(lambda: self.note("stopping when the compiling ends; again to stop now")):
            # Traced here, since a thread does not inherit those of JAX's settings that hold within a `with`.
            jitted: Any = function
            if made_of is not None:
                jitted = exported(function, made_of, *args)
            elif not hasattr(function, "lower"):
                jitted = jax.jit(function)
            lowered = jitted.lower(*args)
            program = attentively(lowered.compile, lambda: self.show(f"{stage}, {int(time.perf_counter() - start)} s"))
        seconds = time.perf_counter() - start
        self.compile_seconds += seconds
        self.leave_if_asked()
        return program, seconds

    def finish(self, program: Callable[..., Any], *args: Any) -> Any:
        """What a compiled program returns, once it is there; a second Ctrl-C interrupts the waiting at once."""
        return attentively(lambda: jax.block_until_ready(program(*args)))


@contextlib.contextmanager
def watched(progress: Progress, note: Note, done: int = 0) -> Iterator[Watched]:
    """A run that the first Ctrl-C stops where it is safe to, and the second one at once.

    Args:
        progress: Told the stage and how much is done.
        note: Told what the user should read at once.
        done: How much was done before.
    """
    with asked_to_stop(lambda: run.show("stopping")) as stop:
        run = Watched(progress, note, stop, done)
        yield run
