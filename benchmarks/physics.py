"""Planning through MuJoCo's physics: sampling solvers on tasks of the control suite, beside published scores.

    python benchmarks/physics.py [--tasks cartpole,pendulum] [--solvers cem,mppi] [--seeds 0,1] [--output FILE]
    python benchmarks/physics.py --table                   # run nothing, print the cells that are there
    python benchmarks/physics.py --pictures docs/physics   # play the best solver of each task once more, and draw it

A score is the sum of the suite's rewards over an episode, at most 1000. A cell is one episode: a task, a solver and a
seed. It is kept as soon as it is finished; the same command goes on with the others.
"""

import argparse
import dataclasses
import hashlib
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from common import FOLDER, NOT_MEASURED, Report, commit, machine, progress
from physics_program import Program
from physics_tasks import Bench, load_bench

from swmjax.runs.files import replacing
from swmjax.runs.paths import config_path
from swmjax.runs.watched import Progress, watched
from swmjax.world.statistics import mean_interval

CONFIG = "bench/physics.yaml"
INTERRUPTED = 130

Cell = dict[str, Any]


def main() -> None:
    """Run the chosen cells that are not there yet, and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=CONFIG, help=f"YAML file or preset (default {CONFIG})")
    parser.add_argument("--tasks", type=names, help="default all of the file")
    parser.add_argument("--solvers", type=names, help="default all of the file")
    parser.add_argument("--seeds", type=numbers, help="such as 0,1,2; default those of the file")
    parser.add_argument("--steps", type=int, help="environment steps of an episode; default those of the file")
    parser.add_argument("--rows", type=Path, help="JSON lines of finished cells (default results/physics_DEVICE.jsonl)")
    parser.add_argument("--table", action="store_true", help="run nothing, print the cells that --rows has")
    parser.add_argument("--pictures", type=Path, help="folder for an MP4 of each task and a sheet of all of them")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    path = arguments.rows or FOLDER / "results" / f"physics_{jax.default_backend()}.jsonl"
    try:
        bench = load_bench(config_path(arguments.config))
        cells = chosen(bench, arguments)
        done = read_rows(path)
    except ValueError as error:
        parser.error(str(error))

    missing = [cell for cell in cells if cell["id"] not in done]
    try:
        with watched(told_once(), progress) as run:
            if not arguments.table:
                run_cells(bench, missing, done, path, run)
            rows = [done[cell["id"]] for cell in cells if cell["id"] in done]
            report(bench, rows, [cell for cell in cells if cell["id"] not in done], arguments.output)
            if arguments.pictures is not None:
                from physics_pictures import draw

                draw(bench, best_cells(rows), arguments.pictures, run)
    except KeyboardInterrupt:
        kept = sum(cell["id"] in done for cell in cells)
        progress(f"interrupted: {kept} of {len(cells)} cells are kept in {path}; the same command goes on")
        sys.exit(INTERRUPTED)


def told_once() -> Progress:
    """Says what a run is at, each thing once: a compilation tells the seconds behind a comma."""
    last = ""

    def show(stage: str, _: int) -> None:
        nonlocal last
        if stage.partition(",")[0] != last:
            last = stage.partition(",")[0]
            progress(stage)

    return show


def chosen(bench: Bench, arguments: argparse.Namespace) -> list[Cell]:
    """The settings of every cell to run, those of one task in a row.

    Raises:
        ValueError: An unknown task or solver, or an episode without steps.
    """
    for kind in ("tasks", "solvers"):
        for name in getattr(arguments, kind) or ():
            if name not in getattr(bench, kind):
                raise ValueError(f"--{kind}: no {name!r} in the file; it has {', '.join(getattr(bench, kind))}")
    if arguments.steps is not None and arguments.steps < 1:
        raise ValueError(f"--steps must be at least 1, got {arguments.steps}")
    cells = []
    for name in arguments.tasks or bench.tasks:
        task = bench.tasks[name]
        if (arguments.steps or bench.steps) % task.hold:
            raise ValueError(f"--steps must be a multiple of tasks.{name}.hold ({task.hold}), got {arguments.steps}")
        task.make_envs(bench.impl)
        for solver in arguments.solvers or bench.solvers:
            for seed in arguments.seeds or task.seeds or bench.seeds:
                cell: Cell = {
                    "task": name,
                    "solver": solver,
                    "steps": arguments.steps or bench.steps,
                    "seed": seed,
                    "hyperparameters": bench.settings(name, solver),
                    "plan": dataclasses.asdict(task.plan),
                    "objective": [task.objective, task.terminal],
                    "hold": task.hold,
                    "env": [task.env, dict(task.options), dict(task.model_options), bench.impl],
                }
                text = json.dumps(cell, sort_keys=True)
                cells.append(cell | {"id": hashlib.sha256(text.encode()).hexdigest()[:16]})
    return cells


def run_cells(bench: Bench, cells: Sequence[Cell], done: dict[str, Cell], path: Path, run: Any) -> None:
    """Run cells one after the other; each is kept at once."""
    program = None
    for number, cell in enumerate(cells, 1):
        if program is None or program.task != cell["task"]:
            program = Program(bench, cell, run)
        figures = program.play(cell["solver"], cell["seed"], f"{number}/{len(cells)}").figures()
        done[cell["id"]] = cell | figures | {"commit": commit()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in done.values()))
        run.leave_if_asked()


def read_rows(path: Path) -> dict[str, Cell]:
    """Finished cells by their settings.

    Raises:
        ValueError: A line is not a cell of this benchmark.
    """
    if not path.exists():
        return {}
    rows = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            rows[row["id"]] = row
            float(row["score"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path}, line {number}: not a finished cell of this benchmark; delete the line to run it again"
            ) from None
    return rows


def best_cells(rows: Sequence[Cell]) -> list[Cell]:
    """For each task the first cell of the solver with the highest mean score."""
    best = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        groups = [group for group in by_pair(rows) if group[0]["task"] == task]
        best[task] = max(groups, key=lambda group: statistics.fmean(row["score"] for row in group))[0]
    return list(best.values())


def by_pair(rows: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that differ in their seeds alone."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["solver"]), []).append(row)
    return list(groups.values())


def report(bench: Bench, rows: Sequence[Cell], missing: Sequence[Cell], output: Path | None) -> None:
    """Print the table, what it is compared with, and how it was measured."""
    written = Report(output)
    columns = "task,solver,seeds,score,95 % interval,threshold,passed,published,s/episode,plan ms,physics".split(",")
    steps = sorted({row["steps"] for row in rows})
    title = f"Planning through MuJoCo's physics, {', '.join(map(str, steps))} environment steps"
    written.table(title, columns, [line(bench, group) for group in by_pair(rows)])
    if missing:
        counts = {(cell["task"], cell["solver"]): 0 for cell in missing}
        for cell in missing:
            counts[cell["task"], cell["solver"]] += 1
        written.line(f"Not run: {', '.join(f'{task} {solver} ({n})' for (task, solver), n in counts.items())}")
    for name in dict.fromkeys(row["task"] for row in rows):
        for one in bench.tasks[name].published:
            written.line(f"{name}: {one.score:.0f}, {one.method} ({one.source})")
    for reason in dict.fromkeys(f"{row['physics'][0]}: {row['physics'][1]}" for row in rows):
        written.line(f"Physics in {reason}")
    for version in dict.fromkeys(row["commit"] for row in rows):
        written.line(f"Cells run at commit {version}")
    written.facts("How this was printed", machine())
    written.close()


def line(bench: Bench, group: Sequence[Cell]) -> list[str]:
    """A row of the table: the seeds of a task and a solver."""
    task, scores = bench.tasks[group[0]["task"]], [row["score"] for row in group]
    mean = statistics.fmean(scores)
    verdict = NOT_MEASURED
    if task.threshold is not None and all(row["steps"] == bench.steps for row in group):
        verdict = "yes" if mean >= task.threshold else f"{mean - task.threshold:.0f}"
    return [
        group[0]["task"],
        group[0]["solver"],
        str(len(group)),
        f"{mean:.0f}",
        "{:.0f} to {:.0f}".format(*mean_interval(scores)) if len(scores) > 1 else NOT_MEASURED,
        NOT_MEASURED if task.threshold is None else f"{task.threshold:.0f}",
        verdict,
        f"{task.published[0].score:.0f}" if task.published else NOT_MEASURED,
        f"{statistics.fmean(row['run_s'] for row in group):.1f}",
        f"{statistics.median(row['plan_ms'] for row in group):.0f}",
        ", ".join(dict.fromkeys(row["physics"][0] for row in group)),
    ]


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(text.split(","))


def numbers(text: str) -> tuple[int, ...]:
    """Non-negative integers with commas between them."""
    values = tuple(int(one) for one in text.split(","))
    if min(values) < 0 or len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"expected different integers from 0, got {text}")
    return values


if __name__ == "__main__":
    main()
