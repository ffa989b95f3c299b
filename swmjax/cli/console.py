"""What all commands share: consoles, tables, JSON, and how a mistake is reported."""

import functools
import json
import logging
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Annotated, Any, NoReturn, cast

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from swmjax.runs.interrupts import interruptible

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
"""The option of every command that prints something."""
USER_ERROR = 2
INTERRUPTED = 130
LINE_SECONDS = 15.0
"""Where nobody watches, a line tells every so often where the program is."""


def out() -> Console:
    """Console for results; wide where nobody watches, so that a piped table is not cut."""
    return Console(width=None if sys.stdout.isatty() else 160)


def err() -> Console:
    """Console for messages and progress, on stderr; what cannot be said to a terminal that went away is not said."""
    return Console(file=cast(IO[str], _Unheard(sys.stderr)), soft_wrap=True)


class _Unheard:
    """A stream that writes what it can, so that a run does not end because nobody listens."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def fail(message: str, code: int = USER_ERROR) -> NoReturn:
    """Print a message to stderr and leave with an exit code."""
    err().print(f"[bold red]error:[/] {escape(message)}", highlight=False)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Print what the user should know to stderr."""
    err().print(_note(message), highlight=False)


def _note(message: str) -> str:
    return f"[yellow]note:[/] {escape(message)}"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a mistake of the user into one readable message and exit code 2, Ctrl-C and its like into 130.

    Anything but a `UserError` and what the system says is a defect of ours and keeps its traceback.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # who read the output has seen enough; Typer knows what to do
    except OSError as error:
        fail(system_reason(error))
    except ValueError as error:
        from envs_mjx.checks import UserError  # not above: `--help` does not import JAX

        if not isinstance(error, UserError):
            raise
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)


def system_reason(error: OSError) -> str:
    """What the system refused, on one line: its reason and the path, if it says them."""
    said = error.strerror if error.errno is not None and error.strerror else str(error)
    return " ".join(said.split()) if error.filename is None else f"{said}: {error.filename}"


class _WithoutLateWrites:
    """Reports of errors that nobody catches, but for TensorStore's writes that end after Orbax has given up."""

    def __init__(self, usual: Callable[[Any], Any]):
        self.usual = usual

    def __call__(self, report: Any) -> None:
        if "Event loop is closed" not in str(report.exc_value):
            self.usual(report)


def quiet_saving() -> None:
    """Have Orbax not log what goes wrong while it writes, once for every task that goes under; it raises it as well."""
    import absl.logging

    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    if not isinstance(sys.unraisablehook, _WithoutLateWrites):
        sys.unraisablehook = _WithoutLateWrites(sys.unraisablehook)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator of every command: runs it under `user_errors`, and has every signal that ends programs interrupt it."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        with user_errors(), interruptible():
            function(*args, **kwargs)

    return wrapped


@contextmanager
def progress_bar(
    total: int, unit: str, done: int = 0, decimals: int = 2
) -> Iterator[tuple[Callable[[str, int], None], Callable[[str], None]]]:
    """A bar on stderr with rate and time left, which disappears at the end; a line now and then in a pipe.

    Args:
        total: what there is to do.
        unit: what is counted, in the plural.
        done: what has been done before.
        decimals: of the rate.

    Yields:
        A function that shows the stage and how much is done, and one that prints a note.
    """
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed:,.0f}}/{{task.total:,.0f}} {unit}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    screen = err()
    watched = screen.is_terminal
    with Progress(*columns, console=screen, transient=True, speed_estimate_period=120.0, disable=not watched) as bar:
        task = bar.add_task("starting", total=total, completed=done, rate="")
        next_line = time.monotonic() + LINE_SECONDS

        def show(stage: str, completed: int) -> None:
            nonlocal next_line
            bar.update(task, description=stage, completed=completed)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, rate=f"{speed:,.{decimals}f} {unit}/s" if speed else "")
            if not watched and time.monotonic() >= next_line:
                next_line = time.monotonic() + LINE_SECONDS
                screen.print(f"{stage} ({completed:,}/{total:,} {unit})", highlight=False, markup=False)

        yield show, lambda message: screen.print(_note(message), highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table, folded between words; a terminal too narrow for that gets one row under the other."""
    screen = out()
    cells = [[str(cell) for cell in row] for row in rows]
    widths = _widths([*zip(columns, *cells, strict=True)], screen.width - 3 * len(columns) - 1)
    if widths is None:
        screen.print(title, style="italic", markup=False, highlight=False, soft_wrap=True)
        for name, *others in cells:
            screen.print(name, style="bold", markup=False, highlight=False, soft_wrap=True)
            said = "; ".join(f"{column}: {cell}" for column, cell in zip(columns[1:], others, strict=True) if cell)
            lines = textwrap.wrap(said, screen.width - 2, break_long_words=False, break_on_hyphens=False)
            screen.print(*(f"  {line}" for line in lines), sep="\n", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(title=title, title_justify="left")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in cells:
        table.add_row(*map(escape, row))
    screen.print(table)


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Widths of columns of texts, of which none breaks a word; None where there is no room for that."""
    wishes = [max(cell_len(line) for text in column for line in text.splitlines() or [""]) for column in columns]
    widths = [max(cell_len(word) for text in column for word in text.split() or [""]) for column in columns]
    spare = room - sum(widths)
    if spare < 0:
        return None
    # Whoever wants little more gets it, and the others share what is left.
    order = sorted(range(len(columns)), key=lambda i: wishes[i] - widths[i])
    for rank, i in enumerate(order):
        more = min(wishes[i] - widths[i], spare // (len(order) - rank))
        widths[i] += more
        spare -= more
    return widths


def print_facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    out().print(table)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def size_of(size: float) -> str:
    """Bytes as text, such as 1.5 MB."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PB"
