"""How far the MuJoCo environments are from dm_control on MuJoCo's C code: single steps, statistics, and `fast`.

    python benchmarks/mjx_parity.py --output benchmarks/results/mjx_parity_cpu.txt

Three parts: the largest differences after one control step and after one step of the environment (two control steps)
from the same states; statistics of episodes of random actions, which differ where chaos separates single runs; and the
same for the fidelity `fast`. The file is written anew after every measurement. With `--keep FILE` measurements go to
a JSON file too, and those that are there already are not repeated. With `--reference-python` the rewards of the tasks
that dm_control does not have are compared with the reference's.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from common import machine, progress

# In place of this folder, whose envs.py would hide the tests' folder of that name.
sys.path[0] = str(Path(__file__).parents[1] / "tests")
from envs.mujoco import live, recorded  # noqa: E402

SEED = 31
EPISODES = {"humanoid": (24, 50), "quadruped": (24, 50), "manipulator": (24, 50)}
USUAL = (64, 100)
"""Episodes and steps of them."""
_OWN_TASKS = ("cheetah", "hopper", "walker")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", default=",".join(recorded.NAMES), help="default: all")
    parser.add_argument("--states", type=int, default=24, help="states from which steps are compared (default 24)")
    parser.add_argument("--parts", default=",".join(PARTS), help="default: all")
    parser.add_argument("--keep", type=Path, help="JSON file of measurements, old and new")
    parser.add_argument("--reference-python", type=Path, help="interpreter of the reference's virtual environment")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    kept = arguments.keep and arguments.keep.exists()
    found: dict[str, dict[str, Any]] = json.loads(arguments.keep.read_text()) if kept else {}
    for part in arguments.parts.split(","):
        for domain in arguments.domains.split(","):
            if part not in found.setdefault(domain, {}):
                progress(f"{part} of {domain}")
                found[domain][part] = PARTS[part](domain, arguments)
            if arguments.keep:
                arguments.keep.write_text(json.dumps(found))
            if arguments.output:
                arguments.output.write_text(report(found, arguments.states))
    print(report(found, arguments.states))


def steps_of(domain: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Largest differences by task that needs a program of its own, and precision."""
    env, found = recorded.make(domain, impl="jax"), {}
    tasks, kind = None, None
    if arguments.reference_python and domain in _OWN_TASKS:
        (site,) = arguments.reference_python.parents[1].glob("lib/python3*/site-packages")
        tasks, kind = live.reference_tasks(env, site)
    for task in (env.task, *recorded.ALONE.get(domain, ())):
        one = recorded.make(domain, task=task, impl="jax")
        rows = live.rows_of(one, SEED, arguments.states, tasks, kind)
        with jax.enable_x64(True):
            double = live.differences(one, rows)
        found[task] = {"x64": double, "f32": live.differences(one, rows)}
    return found


def episodes_of(domain: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One number per episode of every quantity on both sides, p by quantity, and the CPU time here, s."""
    env = recorded.make(domain, impl="jax")
    ours, seconds = live.our_episodes(env, SEED, *EPISODES.get(domain, USUAL))
    theirs = live.suite_episodes(env, SEED + 1, *EPISODES.get(domain, USUAL))
    return {"ours": plain(ours), "theirs": plain(theirs), "p": live.told_apart(ours, theirs), "seconds": seconds}


def fast_of(domain: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The same two things of the fidelity `fast`."""
    env = recorded.make(domain, fidelity="fast", impl="jax")
    apart = live.differences(env, live.rows_of(env, SEED, arguments.states))
    ours, seconds = live.our_episodes(env, SEED + 2, *EPISODES.get(domain, USUAL))
    theirs = live.suite_episodes(env, SEED + 1, *EPISODES.get(domain, USUAL))
    return {
        "apart": apart,
        "ours": plain(ours),
        "theirs": plain(theirs),
        "p": live.told_apart(ours, theirs),
        "seconds": seconds,
    }


PARTS = {"steps": steps_of, "episodes": episodes_of, "fast": fast_of}


def plain(quantities: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """For JSON."""
    return {name: [float(value) for value in values] for name, values in quantities.items()}


def report(found: dict[str, dict[str, Any]], states: int) -> str:
    """The tables of the domains so far."""
    parts = []
    lines = []
    for domain, parts_of in found.items():
        for differences in parts_of.get("steps", {}).values():
            names = [name.removeprefix("reward.") for name in differences["x64"]["env"] if name.startswith("reward.")]
            for task in sorted(names, key=recorded.make(domain).tasks.index):
                cells = [
                    f"{differences[precision][when][quantity]:.0e}"
                    for precision in ("x64", "f32")
                    for when in ("control", "env")
                    for quantity in ("physics", "obs", f"reward.{task}")
                ]
                lines.append((domain, task, *cells))
    compared = [f"{p} {w} {q}" for p in ("x64", "f32") for w in "12" for q in ("q,v", "obs", "r")]
    columns = ("domain", "task", *compared)
    parts.append(
        f"Largest differences from dm_control (C MuJoCo) from {states} states, a third with the nominal model and\n"
        "two thirds with all factors drawn, half at starts of episodes and half after 20 random steps; after one (1)\n"
        "and two (2) control steps, without setting the state between them. Positions, velocities and observations\n"
        "relative above 1; rewards absolute, of one control step.\n\n" + table(columns, lines)
    )
    lines = []
    for domain, parts_of in found.items():
        measured = parts_of.get("episodes", {"p": {}})
        count, length = EPISODES.get(domain, USUAL)
        for name, p in measured["p"].items():
            cells = [spread(measured[side][name]) for side in ("ours", "theirs")]
            lines.append((domain, f"{count} x {2 * length}", name, *cells, f"{p:.3f}"))
    parts.append(
        "Episodes x control steps of uniform actions held for 10 control steps, nominal model, float32, other seeds\n"
        "on both sides: mean and standard deviation over episodes, and p of the two-sample Kolmogorov-Smirnov test.\n"
        "`speed` is the logarithm of the root mean square velocity.\n\n"
        + table(("domain", "episodes", "quantity", "MJX", "dm_control", "p"), lines)
    )
    lines = []
    for domain, parts_of in found.items():
        if "fast" not in parts_of:
            continue
        measured = parts_of["fast"]
        worst = min(measured["p"], key=measured["p"].get)
        differences = [measured["apart"][when][name] for when in ("control", "env") for name in ("physics", "obs")]
        parity = parts_of.get("episodes", {"seconds": np.nan})["seconds"]
        cells = [
            *(f"{value:.0e}" for value in differences),
            worst,
            *(spread(measured[s][worst]) for s in ("ours", "theirs")),
        ]
        lines.append((domain, *cells, f"{measured['p'][worst]:.3f}", f"{parity / measured['seconds']:.2f}"))
    columns = ("domain", "1 q,v", "1 obs", "2 q,v", "2 obs", "least alike", "MJX fast", "dm_control", "p", "CPU time")
    parts.append(
        "Fidelity fast, float32: differences as above; the quantity of the episodes that is least alike; and how many\n"
        "times the CPU time of fast parity takes (one measurement of process time in a batch of the episodes above,\n"
        "so not steps per second).\n\n" + table(columns, lines)
    )
    facts = "\n".join(f"{name}: {value}" for name, value in machine().items())
    return "\n\n".join([*parts, facts]) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width."""
    widths = np.max([[len(cell) for cell in row] for row in (columns, *rows)], axis=0)
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (columns, *rows)]
    return "\n".join("  ".join(row).rstrip() for row in padded)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.3f} +- {np.std(values):.3f}"


if __name__ == "__main__":
    main()
