"""A checkpoint on recorded problems, over several seeds, beside what the reference solved of the same problems.

    python benchmarks/closed_loop.py ENV_ID --model FOLDER --problems FILE.npz

The file of problems holds the reference's `success` beside `start` and `goal`; the reference is not run again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from common import Report, machine, progress

from swmjax.world import paired_interval, wilson_interval


def main() -> None:
    """Run every seed and print rates and the paired interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id", help="for instance swm/TwoRoom-v1")
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--problems", type=Path, required=True, help="NPZ with start, goal and success")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2, 3, 4], help="default 42 1 2 3 4")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    with np.load(arguments.problems) as problems:
        if "success" not in problems:
            parser.error(f"{arguments.problems} has no entry 'success' of the reference")
        reference = np.asarray(problems["success"], bool)

    report = Report(arguments.output)
    successes, seconds = [], []
    for seed in arguments.seeds:
        progress(f"seed {seed}")
        rows, results = run(arguments, seed)
        successes.append(rows)
        seconds.append(results["run_s"])
    table = [
        [str(seed), f"{sum(row)} of {len(row)}", interval(sum(row), len(row)), f"{spent:.1f}"]
        for seed, row, spent in zip(arguments.seeds, successes, seconds, strict=True)
    ]
    table.append(["reference, recorded", f"{reference.sum()} of {len(reference)}", interval(*count(reference)), "-"])
    report.table(f"{arguments.env_id}, {arguments.model.name}", ["seed", "solved", "95 % (Wilson)", "run s"], table)
    mean, low, high = paired_interval(successes, reference.tolist())
    report.line(
        f"Difference to the reference, paired over problems, mean of {len(successes)} seeds: "
        f"{100 * mean:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    )
    report.facts("How it was measured", machine())
    report.close()


def run(arguments: argparse.Namespace, seed: int) -> tuple[list[bool], dict]:
    """Success of every problem, and the results of the run."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        command = [str(Path(sys.executable).with_name("swmjax")), "eval", arguments.env_id, "--no-video", "--json"]
        command += ["--model", str(arguments.model), "--problems", str(arguments.problems)]
        command += ["--seed", str(seed), "--output", str(output)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = parquet.read_table(output / "episodes.parquet").sort_by("episode").to_pydict()
        return rows["success"], json.loads((output / "results.json").read_text())


def count(successes: np.ndarray) -> tuple[int, int]:
    """Successes and trials."""
    return int(successes.sum()), len(successes)


def interval(successes: int, trials: int) -> str:
    """Wilson's interval in percent."""
    low, high = wilson_interval(successes, trials)
    return f"{100 * low:.1f} to {100 * high:.1f} %"


if __name__ == "__main__":
    main()
