"""Whole processes of `swmjax eval`, from nothing and with everything compiled before; two source trees side by side.

    python benchmarks/command.py [--checkout DIR] [--repeats 3] [-- --episodes 20]

Each tree has a cache of its own, empty at its first run; runs of the two trees alternate. What follows `--` goes to
`swmjax eval`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import FOLDER, Report, commit, machine, progress, spread

COMMAND = "import sys; from swmjax.cli.app import main; sys.argv = ['swmjax', *sys.argv[1:]]; main()"


def main() -> None:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, metavar="DIR", help="run this source tree of swmjax as well")
    parser.add_argument("--repeats", type=int, default=3, help="runs with a warm cache (3)")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    parser.add_argument("options", nargs="*", help="options of `swmjax eval`")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    if arguments.checkout is not None and not (arguments.checkout / "swmjax").is_dir():
        parser.error(f"{arguments.checkout} is no source tree of swmjax")

    trees = {"here": FOLDER.parent} | ({"there": arguments.checkout.resolve()} if arguments.checkout else {})
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.repeats + 1):
            for label, tree in trees.items():
                kind = "warm" if number else "cold"
                runs.setdefault((kind, label), []).append(run(tree, Path(folder) / label, arguments.options))
                progress(f"{kind}, {label}: {runs[kind, label][-1]}")

    report = Report(arguments.output)
    columns = ["wall s", "CPU s", "compile s", "run s", "successes"]
    rows = []
    for (kind, label), measured in sorted(runs.items()):
        seconds = [spread([one[name] for one in measured], 1) for name in columns[:-1]]
        rows.append([kind, label, *seconds, f"{measured[-1]['successes']:.0f} of {measured[-1]['episodes']:.0f}"])
    report.table(f"swmjax eval {' '.join(arguments.options)}".strip(), ["cache", "tree", *columns], rows)
    there = {"there": f"commit {commit(arguments.checkout)}"} if arguments.checkout else {}
    report.facts("How it was measured", machine() | there)
    report.close()


def run(tree: Path, folder: Path, options: list[str]) -> dict[str, float]:
    """Seconds of one process of a source tree, whose cache is in the folder, and what it says of itself."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", COMMAND, "eval", "--json", *options]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"swmjax eval failed with {tree}:\n{done.stderr[-2000:]}")
    results: dict[str, Any] = json.loads(done.stdout)
    return {
        "wall s": wall,
        "CPU s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "compile s": sum(results["compile_s"].values()),
        "run s": results["run_s"],
        "successes": results["successes"],
        "episodes": results["episodes"],
    }


if __name__ == "__main__":
    main()
