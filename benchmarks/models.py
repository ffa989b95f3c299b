"""Encode, rollout and cost of every world model, here and in the reference, on the same machine in one run.

python benchmarks/models.py --reference-python DIR/bin/python [--models lewm,prejepa] [--dtype bfloat16]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import FOLDER, NOT_MEASURED, Report, Timing, exchange_folder, machine, progress, run_reference, threads
from model_sizes import CLOCKS, FULL, HORIZON, MODELS, QUICK, STAGES, Sizes, inputs

COLUMNS = ["", "compile s", "swmjax ms", "reference ms", "reference / swmjax", "GFLOP", "of peak", "difference"]
GRADIENT_CANDIDATES = 100


def main() -> None:
    """Measure one model after the other, each side in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", type=Path, help="interpreter of the reference's virtual environment")
    parser.add_argument("--models", type=names, default=MODELS, help=f"default {','.join(MODELS)}")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of both sides")
    parser.add_argument("--candidates", type=int, help="candidates a call (default 300, and 8 for prejepa)")
    parser.add_argument("--repeats", type=int, default=5, help="warm calls that are timed (default 5)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="'cpu': all threads' time, for a busy machine")
    parser.add_argument("--quick", action="store_true", help="tiny models and few candidates: shows that it works")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    if arguments.repeats < 1 or (arguments.candidates is not None and arguments.candidates < 1):
        parser.error("--repeats and --candidates must be at least 1")
    sizes, report = QUICK if arguments.quick else FULL, Report(arguments.output)
    if arguments.candidates is not None:
        counts = {"candidates": arguments.candidates, "prejepa_candidates": arguments.candidates}
        sizes = Sizes(**sizes.settings() | counts)

    reference = None
    for name in arguments.models:
        settings = {"model": name, "sizes": sizes.settings(), "dtype": arguments.dtype, "gradients": 0}
        settings |= {"threads": threads(), "repeats": arguments.repeats, "clock": arguments.clock}
        with exchange_folder() as folder:
            np.savez(Path(folder) / "inputs.npz", **inputs(name, sizes))
            reference = run_reference(arguments.reference_python, "reference_models.py", settings, Path(folder))
            ours = run_worker(settings, Path(folder))
        show(report, name, sizes, arguments.dtype, ours, reference)
        if name == "prejepa":
            count = 2 if arguments.quick else GRADIENT_CANDIDATES
            with exchange_folder() as folder:
                needed = run_worker(settings | {"gradients": count}, Path(folder))
            report.line(
                f"Gradient of the cost of {count} candidates: XLA needs {gibibytes(needed['without'])} of temporary "
                f"memory, with remat {gibibytes(needed['with'])} (compiled, not run)"
            )
    if reference is None:
        report.without_reference(arguments.reference_python)
    facts = machine() | {
        "dtype": f"{arguments.dtype}; 'of peak' is of {ours['source']}: {ours['peak'] / 1e9:,.0f} GFLOP/s",
        "timed calls": f"{arguments.repeats} warm ones each, {arguments.clock} time",
        "processes": "one for each side of each model, one after the other",
        "memory": "largest resident size of the process, with interpreter, libraries, compilation and weights",
    }
    report.facts("How it was measured", facts | ({"reference": reference["versions"]} if reference else {}))
    report.close()


def names(text: str) -> tuple[str, ...]:
    """Models separated by commas."""
    wanted = tuple(text.split(","))
    if unknown := [name for name in wanted if name not in MODELS]:
        raise argparse.ArgumentTypeError(f"models are {', '.join(MODELS)}, got {', '.join(unknown)}")
    return wanted


def run_worker(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run our side in a process of its own.

    Raises:
        RuntimeError: It failed; ends with what it wrote last.
    """
    progress(f"swmjax: {settings['model']}{' gradients' if settings['gradients'] else ''}")
    (folder / "settings.json").write_text(json.dumps(settings))
    command = [sys.executable, str(FOLDER / "model_worker.py"), str(folder)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"model_worker.py failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def show(
    report: Report, name: str, sizes: Sizes, dtype: str, ours: dict[str, Any], reference: dict[str, Any] | None
) -> None:
    """The table of one model."""
    rows = []
    for stage in STAGES[name]:
        figures = ours["stages"][stage]
        timing, flops = Timing(tuple(figures["seconds"])), figures["flops"]
        row = [stage, f"{figures['compile']:.1f}", timing.shown()]
        if reference:
            theirs = Timing(tuple(reference["seconds"][stage]))
            row += [theirs.shown(), f"{theirs.median / timing.median:.2f}x"]
        else:
            row += [NOT_MEASURED, NOT_MEASURED]
        row += [f"{flops / 1e9:,.2f}", f"{flops / timing.median / ours['peak']:.1%}"]
        rows.append([*row, f"{figures['difference']:.1e}" if reference else NOT_MEASURED])
    memory = gibibytes(reference["memory"]) if reference else NOT_MEASURED
    rows.append(["peak memory", NOT_MEASURED, gibibytes(ours["memory"]), memory, *[NOT_MEASURED] * 4])
    count = sizes.prejepa_candidates if name == "prejepa" else sizes.candidates
    work = "one window and goal" if name == "gcbc" else f"{count} candidates of {HORIZON} steps, context 1, one problem"
    title = f"{name}, {ours['parameters']:,} numbers, {dtype}: {work}\nwarm ms: median (least..most)"
    report.table(title, COLUMNS, rows)


def gibibytes(count: float) -> str:
    """Bytes in GiB."""
    return f"{count / 2**30:,.2f} GiB"


if __name__ == "__main__":
    main()
