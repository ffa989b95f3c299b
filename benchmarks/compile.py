"""CPU seconds of tracing, lowering and compiling, and the size of named programs; two source trees side by side.

    python benchmarks/compile.py [--programs pusht-step,eval] [--checkout DIR]

Every program is measured in a process of its own, with no compilation cache. CPU seconds, those of all threads, also
mean something on a busy machine. A program that another source tree cannot build, because names differ, is left out
there.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import FOLDER, NOT_MEASURED, Report, commit, machine, progress

STAGES = ("trace", "lower", "compile")
SIZES = ("equations", "lines", "loops")


def main() -> None:
    """Measure program by program, and print the figures."""
    from compile_programs import programs

    known = tuple(programs())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", default=",".join(known), help=f"names separated by commas, of {', '.join(known)}")
    parser.add_argument("--checkout", type=Path, metavar="DIR", help="measure this source tree of swmjax as well")
    parser.add_argument("--repeats", type=int, default=1, help="processes a program; the least seconds count (1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    names = arguments.programs.split(",")
    if unknown := set(names) - set(known):
        parser.error(f"unknown {', '.join(sorted(unknown))}; allowed are {', '.join(known)}")
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    if arguments.checkout is not None and not (arguments.checkout / "swmjax").is_dir():
        parser.error(f"{arguments.checkout} is no source tree of swmjax")

    trees = {"here": FOLDER.parent} | ({"there": arguments.checkout.resolve()} if arguments.checkout else {})
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for name in names:
        runs: dict[str, list[dict[str, Any]]] = {label: [] for label in trees}
        for _ in range(arguments.repeats):
            for label, tree in trees.items():
                runs[label].append(measure(tree, name))
                progress(f"{name}, {label}: {runs[label][-1]}")
                if label == "here" and "missing" in runs[label][-1]:
                    raise RuntimeError(f"{name} cannot be built here: {runs[label][-1]['missing']}")
        figures[name] = {label: least(run) for label, run in runs.items()}
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return

    report = Report(arguments.output)
    rows = []
    for name, by_tree in figures.items():
        for label, run in by_tree.items():
            ratio = NOT_MEASURED
            if label == "here" and "total" in by_tree.get("there", {}):
                ratio = f"{run['total'] / by_tree['there']['total']:.2f}x"
            seconds = [f"{run[stage]:.2f}" if stage in run else NOT_MEASURED for stage in (*STAGES, "total")]
            counts = [f"{run[size]:,}" if size in run else NOT_MEASURED for size in SIZES]
            rows.append([name, label, *seconds, ratio, *counts])
    title = f"CPU seconds, least of {arguments.repeats} process(es) each; ratio of the totals, here to there"
    report.table(title, ["", "tree", *STAGES, "total", "ratio", *SIZES], rows)
    there = {"there": f"commit {commit(arguments.checkout)}"} if arguments.checkout else {}
    report.facts("How it was measured", machine() | there)
    report.close()


def measure(tree: Path, name: str) -> dict[str, Any]:
    """Figures of one program of a source tree."""
    command = [sys.executable, str(FOLDER / "compile_worker.py"), name]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed with {tree}:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The sizes, which are the same in every process, and the least seconds."""
    if "missing" in runs[0]:
        return runs[0]
    best = {stage: min(run[stage] for run in runs) for stage in STAGES}
    total = min(sum(run[stage] for stage in STAGES) for run in runs)
    return best | {"total": total} | {size: runs[0][size] for size in SIZES}


if __name__ == "__main__":
    main()
