"""Planning through MJX physics: sampling solvers on tasks of the control suite, beside published scores.

    python benchmarks/mjx_planning.py [--tasks cartpole,pendulum] [--solvers cem,mppi] [--rows FILE] [--output FILE]

A score is the sum of the suite's rewards over an episode, at most 1000.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import NOT_MEASURED, Report, machine, progress
from mjx_tasks import OBJECTIVES, Bench, load_bench

from swmjax.models import OracleModel
from swmjax.policies import PhysicsPolicy, Start, rollout
from swmjax.runs.paths import config_path

CONFIG = "bench/mjx.yaml"


def main() -> None:
    """Run the chosen pairs that are not there yet, and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=CONFIG, help=f"YAML file or preset (default {CONFIG})")
    parser.add_argument("--tasks", type=names, help="default all of the file")
    parser.add_argument("--solvers", type=names, help="default all of the file")
    parser.add_argument("--seeds", type=numbers, help="such as 0,1,2; default those of the file")
    parser.add_argument("--steps", type=int, help="environment steps of an episode; default those of the file")
    parser.add_argument("--rows", type=Path, help="JSON lines: finished pairs are added, those that are there are kept")
    parser.add_argument("--table", action="store_true", help="run nothing, print the pairs that --rows has")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    try:
        bench = load_bench(config_path(arguments.config))
        pairs = chosen(bench, arguments)
    except ValueError as error:
        parser.error(str(error))

    done = read_rows(arguments.rows)
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    program = None
    for number, settings in enumerate(pairs, 1):
        row = done.get(settings["id"])
        if row is None and arguments.table:
            missing.append(f"{settings['task']} {settings['solver']}")
            continue
        if row is None:
            if program is None or program.task != settings["task"]:
                program = Program(bench, settings)
            row = settings | program.run(settings["solver"], f"{number}/{len(pairs)}")
            if arguments.rows is not None:
                with arguments.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        rows.append(row)
    report(bench, rows, missing, arguments.output)


def chosen(bench: Bench, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The settings of every pair to run, solvers of one task in a row.

    Raises:
        ValueError: An unknown task or solver, or an episode without steps.
    """
    for kind in ("tasks", "solvers"):
        for name in getattr(arguments, kind) or ():
            if name not in getattr(bench, kind):
                raise ValueError(f"--{kind}: no {name!r} in the file; it has {', '.join(getattr(bench, kind))}")
    if arguments.steps is not None and arguments.steps < 1:
        raise ValueError(f"--steps must be at least 1, got {arguments.steps}")
    pairs = []
    for name in arguments.tasks or bench.tasks:
        task = bench.tasks[name]
        if (arguments.steps or bench.steps) % task.hold:
            raise ValueError(f"--steps must be a multiple of tasks.{name}.hold ({task.hold}), got {arguments.steps}")
        task.make_envs()
        for solver in arguments.solvers or bench.solvers:
            settings: dict[str, Any] = {
                "task": name,
                "solver": solver,
                "steps": arguments.steps or bench.steps,
                "seeds": list(arguments.seeds or task.seeds or bench.seeds),
                "hyperparameters": bench.settings(name, solver),
                "plan": dataclasses.asdict(task.plan),
                "objective": [task.objective, task.terminal],
                "hold": task.hold,
                "env": [task.env, dict(task.options), dict(task.model_options)],
            }
            text = json.dumps(settings, sort_keys=True)
            pairs.append(settings | {"id": hashlib.sha256(text.encode()).hexdigest()[:16]})
    return pairs


class Program:
    """The closed loop of a task, compiled once: plan, act and step, some steps a call, with any of the solvers.

    Args:
        bench: All settings.
        settings: Those of one of the pairs; of them, `task`, `steps` and `seeds` matter.
    """

    def __init__(self, bench: Bench, settings: dict[str, Any]) -> None:
        self.task, self.steps, self.solvers = settings["task"], settings["steps"], list(bench.solvers)
        self.seeds = jnp.asarray(settings["seeds"], jnp.int32)
        self.settings = bench.tasks[self.task]
        self.ahead = bench.make_solver(self.task, 0).solvers[0]
        hold = self.settings.hold
        self.per_call = math.gcd(self.steps // hold, max(bench.chunk // hold, 1))
        env, model = self.settings.make_envs()
        objective, terminal = OBJECTIVES[self.settings.objective], self.settings.terminal
        final = (lambda state: terminal * objective(state)) if terminal else None
        plan = self.settings.plan

        def policy(index: Any) -> PhysicsPolicy:
            return PhysicsPolicy(OracleModel(model), bench.make_solver(self.task, index), plan, final, objective)

        def seen(states: Any, memory: Any) -> Any:
            return states.reward, jax.vmap(objective)(states), memory.position == 1

        def advance(index: Any, states: Any, memory: Any) -> Any:
            start = Start(states=states, seeds=self.seeds, carry=memory)
            played = rollout(env, policy(index), start, self.per_call, keep=seen)
            return played.states, played.carry, jax.tree.map(lambda leaf: leaf[1:], played.kept)

        progress(f"{self.task}: compiling")
        clock = time.perf_counter()
        states = jax.jit(jax.vmap(lambda seed: env.env.reset(jax.random.key(seed))))(self.seeds)
        self.start = states, policy(0).init(self.seeds, {"env_state": states})
        self.advance = jax.jit(advance).lower(jnp.asarray(0), *self.start).compile()
        self.compile_s = time.perf_counter() - clock

    def run(self, solver: str, label: str) -> dict[str, Any]:
        """Run the episodes side by side.

        Args:
            solver: Name of the one that plans.
            label: What to put before the signs of life.

        Returns:
            Scores, mean costs of a step, seconds of compilation and of each plan, and model steps per second.
        """
        index, hold = jnp.asarray(self.solvers.index(solver)), self.settings.hold
        (states, memory), rewards, costs, seconds, plan_s = self.start, [], [], 0.0, []
        while (count := len(rewards) * self.per_call * hold) < self.steps:
            clock = time.perf_counter()
            states, memory, (reward, cost, planned) = jax.block_until_ready(self.advance(index, states, memory))
            took = time.perf_counter() - clock
            rewards.append(np.asarray(reward))
            costs.append(np.asarray(cost))
            seconds += took
            if plans := int(planned[:, 0].sum()):
                plan_s.append(took / plans)
            count += self.per_call * hold
            left = seconds / count * (self.steps - count)
            score = np.concatenate(rewards).sum(0).mean()
            shown = f"score {score:.0f}, {count / seconds:.1f} steps/s, {left:.0f} s left"
            progress(f"{label} {self.task} {solver}: step {count}/{self.steps}, {shown}")
        plan = self.settings.plan
        candidates = self.ahead.n_steps * self.ahead.num_samples * int(memory.plans.sum())
        return {
            "scores": [float(score) for score in np.concatenate(rewards).sum(0)],
            "costs": [float(cost) for cost in np.concatenate(costs).mean(0)],
            "diverged": int(states.info["diverged"].sum()),
            "compile_s": self.compile_s,
            "run_s": seconds,
            "plan_ms": 1e3 * statistics.median(plan_s),
            "model_steps_per_s": candidates * plan.horizon * plan.action_block * hold / seconds,
        }


def read_rows(path: Path | None) -> dict[str, dict[str, Any]]:
    """Finished pairs by their settings.

    Raises:
        SystemExit: A line is not a row of this benchmark.
    """
    if path is None or not path.exists():
        return {}
    rows = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            rows[row["id"]] = row
        except (ValueError, KeyError, TypeError):
            sys.exit(f"{path}, line {number}: not a finished pair of this benchmark; delete the line to run it again")
    return rows


def report(bench: Bench, rows: Sequence[dict[str, Any]], missing: Sequence[str], output: Path | None) -> None:
    """Print the table, what it is compared with, and how it was measured."""
    written = Report(output)
    table = []
    for row in rows:
        task = bench.tasks[row["task"]]
        mean = statistics.fmean(row["scores"])
        whole = row["steps"] == bench.steps
        verdict = NOT_MEASURED if not whole else "yes" if mean >= task.threshold else f"{mean - task.threshold:.0f}"
        table.append(
            [
                row["task"],
                row["solver"],
                str(len(row["seeds"])),
                f"{mean:.0f} ({min(row['scores']):.0f}..{max(row['scores']):.0f})",
                f"{task.threshold:.0f}",
                verdict,
                f"{task.published[0].score:.0f}",
                f"{row['plan_ms']:.0f}",
                f"{row['model_steps_per_s']:,.0f}",
                f"{row['compile_s']:.0f}",
                f"{row['run_s']:.0f}",
            ]
        )
    columns = "task,solver,seeds,score,threshold,passed,published,plan ms,model steps/s,compile s,run s".split(",")
    steps = sorted({row["steps"] for row in rows})
    written.table(f"Planning through MJX physics, {', '.join(map(str, steps))} environment steps", columns, table)
    if missing:
        written.line(f"Not run: {', '.join(missing)}")
    for name in dict.fromkeys(row["task"] for row in rows):
        for one in bench.tasks[name].published:
            written.line(f"{name}: {one.score:.0f}, {one.method} ({one.source})")
    written.facts("How it was measured", machine())
    written.close()


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
