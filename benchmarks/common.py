"""What the benchmarks share: timing, a table, the facts of the machine, and the reference in its own process."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent
NOT_MEASURED = "-"


@dataclass(frozen=True)
class Timing:
    """Durations of equal calls, in s, and what all threads of the process worked in them, where that was measured."""

    seconds: tuple[float, ...]
    work: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """Median duration, s."""
        return statistics.median(self.seconds)

    def shown(self, unit: float = 1e3, digits: int = 1) -> str:
        """Median and spread in 1 / `unit` s, by default ms."""
        return spread([second * unit for second in self.seconds], digits)

    def rates(self, count: float) -> str:
        """Median and spread of `count` things a call, in things per second."""
        return spread([count / second for second in self.seconds], 0)

    def rates_of_work(self, count: float) -> str:
        """The same per second of all threads of this process together, which other programs change less."""
        return spread([count / second for second in self.work], 0) if self.work else NOT_MEASURED


def spread(values: Sequence[float], digits: int) -> str:
    """Median and, in brackets, the smallest and the largest of some values."""
    low, mid, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{mid} ({low}..{high})"


def time_calls(call: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> Timing:
    """Time calls that come back only when their result is there.

    Args:
        call: What is timed.
        repeats: How often, at least 1.
        clock: What tells the time, s.
    """
    seconds = []
    for _ in range(repeats):
        start = clock()
        call()
        seconds.append(clock() - start)
    return Timing(tuple(seconds))


def threads() -> int:
    """Cores that this process may use: what XLA takes, and what PyTorch is given."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, str]:
    """Date, processor, threads, JAX devices and versions."""
    import jax
    import jaxlib

    import swmjax

    devices = jax.devices()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "swmjax": f"{swmjax.__version__}, commit {commit()}",
        "processor": f"{_processor()}, {threads()} threads",
        "JAX devices": f"{len(devices)} x {devices[0].platform} ({devices[0].device_kind})",
        "versions": f"Python {platform.python_version()}, jax {jax.__version__}, jaxlib {jaxlib.__version__}",
        "dtype": f"float32, matrix products in JAX's precision {jax.config.jax_default_matmul_precision or 'default'}",
    }


def run_reference(python: Path | None, script: str, settings: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """Run one worker in the reference's virtual environment and wait for its end.

    Args:
        python: Its interpreter; None, or a path that does not exist, means that there is no reference.
        script: File name of the worker; it reads `settings.json` in the folder and writes `result.json` there.
        settings: What it needs to know.
        folder: Where both exchange files.

    Returns:
        The worker's result, or None without a reference.

    Raises:
        RuntimeError: The worker failed; ends with what it wrote last.
    """
    if python is None or not python.exists():
        return None
    progress(f"reference: {script}")
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = os.environ | {"SDL_VIDEODRIVER": "dummy", "OMP_NUM_THREADS": str(threads())}
    command = [str(python), "-W", "ignore", str(FOLDER / script), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{script} failed in {python}:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def progress(text: str) -> None:
    """Say on stderr what is going on; some parts take minutes."""
    print(f"... {text}", file=sys.stderr, flush=True)


class Report:
    """Tables on the terminal and, if wanted, the same text in a file."""

    def __init__(self, output: Path | None) -> None:
        self.console = Console(record=True, width=140, highlight=False)
        self.output = output

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print rows; the first column is left, the others right."""
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def facts(self, title: str, facts: dict[str, str]) -> None:
        """Print names and values."""
        table = Table(title=title, title_justify="left", show_header=False)
        for name, value in facts.items():
            table.add_row(name, value)
        self.console.print(table)

    def line(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def without_reference(self, python: Path | None) -> None:
        """Say why there is no comparison."""
        reason = "--reference-python is not given" if python is None else f"{python} does not exist"
        self.line(
            f"Reference skipped: {reason}. Make one with shared/reference/install.sh DIR and pass DIR/bin/python."
        )

    def close(self) -> None:
        """Write the file."""
        if self.output is not None:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            self.console.save_text(str(self.output))
            self.line(f"Written to {self.output}")


def exchange_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for weights and inputs that both sides read."""
    return tempfile.TemporaryDirectory(prefix="swmjax-benchmark-")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit(tree: Path = FOLDER) -> str:
    """Name of the commit that is checked out in a source tree."""
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
