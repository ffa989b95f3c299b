"""Every solver of the reference, here and there, on a full-size LeWM and on PushT's physics; rates and overhead here.

    python benchmarks/solvers.py --reference-python DIR/bin/python [--parts solvers,problems,rates,driver]

Few iterations, since each costs the same; `planning.py` times a whole CEM plan.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import NOT_MEASURED, Report, Timing, exchange_folder, machine, progress, run_reference, threads, time_calls
from gymnasium.spaces import Box, Discrete
from planning import ACTION_BLOCK, ACTION_SIZE, FULL, HORIZON, QUICK, random_model, write_inputs

import envs_mjx
from swmjax.checkpoints import load_pretrained
from swmjax.models import LeWM, OracleModel
from swmjax.planning import (
    SOLVERS,
    CEMSolver,
    GoalMSE,
    block_space,
    encode_problems,
    make_solver,
    model_cost,
    solve,
    solve_batch,
)
from swmjax.planning.population import PopulationSolver
from swmjax.world import draw_problem

PARTS = ("solvers", "problems", "rates", "driver")
LEWM, PHYSICS = "LeWM", "PushT physics"
LATENT_SPACE = Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
CATEGORIES = block_space(Discrete(2), ACTION_BLOCK)
"""Two categories in blocks of five: one-hot, ten entries, as many as the LeWM's actions have."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    candidates: int = 300
    steps: int = 5
    starts: int = 10
    physics_candidates: int = 64
    problems: int = 50
    rates: tuple[int, ...] = (256, 1024, 4096, 16384, 65536)
    chunk: int = 2048


WHOLE, LITTLE = Effort(), Effort(16, 2, 2, 8, 3, (16, 64), 32)


def cases(effort: Effort, count: int) -> dict[str, dict[str, Any]]:
    """Hyperparameters that both sides take, by solver."""
    population = {"num_samples": count, "n_steps": effort.steps, "topk": max(2, count // 10)}
    starts = {"num_samples": effort.starts, "n_steps": effort.steps}
    return {
        "cem": population,
        "icem": population,
        "mppi": population,
        "predictive_sampling": {"num_samples": count},
        "categorical_cem": population,
        "gradient": starts,
        "pgd": starts,
        "lagrangian": {"num_samples": effort.starts, "n_inner_steps": effort.steps, "n_outer_steps": 1},
    }


def main() -> None:
    """Run the reference, then swmjax, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", type=Path, help="interpreter of the reference's virtual environment")
    parser.add_argument("--repeats", type=int, default=5, help="warm calls that are timed (default 5)")
    parser.add_argument("--parts", type=parts, default=PARTS, help=f"default {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a small model and small numbers: shows that it works")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    # Compile times are figures here, so programs must not come from a cache.
    jax.config.update("jax_enable_compilation_cache", False)

    effort, sizes = (LITTLE, QUICK) if arguments.quick else (WHOLE, FULL)
    report = Report(arguments.output)
    latent = cases(effort, effort.candidates)
    physical = {
        name: options
        for name, options in cases(effort, effort.physics_candidates).items()
        if issubclass(SOLVERS[name], PopulationSolver) and SOLVERS[name].actions == "box"
    }
    with exchange_folder() as name:
        folder = Path(name)
        inputs = write_inputs(folder, sizes)
        start, goal, states = pusht_problem()
        settings = {
            "threads": threads(),
            "repeats": arguments.repeats,
            "action_block": ACTION_BLOCK,
            "horizon": HORIZON,
            "latent": latent if "solvers" in arguments.parts else {},
            "physical": physical if "solvers" in arguments.parts else {},
            "classes": {name: SOLVERS[name].__name__ for name in latent},
            "start": start,
            "goal": goal,
            "problems": effort.problems if "problems" in arguments.parts else 0,
            "problems_solver": latent["cem"] | {"n_steps": 1},
        }
        reference = run_reference(arguments.reference_python, "reference_solvers.py", settings, folder)
        model = load_pretrained(folder.resolve()) if reference else random_model(sizes)
    task = LatentTask(model, inputs)
    if "solvers" in arguments.parts:
        compare_solvers(report, effort, task, states, latent, physical, arguments.repeats, reference)
    if "problems" in arguments.parts:
        many_problems(report, effort, task, latent["cem"] | {"n_steps": 1}, arguments.repeats, reference)
    if "rates" in arguments.parts:
        candidate_rates(report, effort, task, states, arguments.repeats)
    if "driver" in arguments.parts:
        driver_overhead(report, arguments.repeats)
    if not reference:
        report.without_reference(arguments.reference_python)
    facts = machine() | {"timed calls": f"{arguments.repeats} warm ones each, the two sides one after the other"}
    report.facts("How it was measured", facts | ({"reference": reference["versions"]} if reference else {}))
    report.close()


def parts(text: str) -> tuple[str, ...]:
    """Names of parts separated by commas."""
    names = tuple(text.split(","))
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; allowed are {', '.join(PARTS)}")
    return names


def pusht_problem() -> tuple[list[float], list[float], Any]:
    """Start and goal vectors of one problem, and its state with a leading axis of one."""
    env = envs_mjx.make("swm/PushT-v1", agent_shapes="circle")
    states, goals = jax.jit(jax.vmap(partial(draw_problem, env, goal_offset=25)))(jnp.arange(1))
    return np.asarray(states.obs["state"][0]).tolist(), np.asarray(goals.obs["state"][0]).tolist(), states


class LatentTask:
    """Planning in a LeWM from one frame and one goal."""

    def __init__(self, model: LeWM, inputs: dict[str, np.ndarray]) -> None:
        self.model = model
        self.frames = [jax.device_put(inputs[name]) for name in ("pixels", "goal")]

    def plan(self, solver: Any, problems: int = 1, **options: Any) -> Callable[[], Any]:
        """A call that compiles at first and plans from frames to actions."""
        space = CATEGORIES if solver.actions == "discrete" else LATENT_SPACE

        @jax.jit
        def run(model, pixels, goal, key):
            encoded = encode_problems(model, pixels, goal, jnp.zeros((problems, 0, ACTION_SIZE)))
            cost = model_cost(model, GoalMSE())
            return solve_batch(solver, cost, encoded, space, key, HORIZON, **options).actions

        frames = [jnp.repeat(frame, problems, axis=0) for frame in self.frames]
        return lambda: jax.block_until_ready(run(self.model, *frames, jax.random.key(0)))


def physics_plan(states: Any, solver: Any, **options: Any) -> Callable[[], Any]:
    """A call that compiles at first and plans through PushT."""
    env = envs_mjx.make("swm/PushT-v1", agent_shapes="circle")
    oracle, space = OracleModel(env), block_space(env.action_space, ACTION_BLOCK)

    @jax.jit
    def run(states, key):
        def cost(state, actions):
            return oracle.cost_fn(state, env.planning_cost)(actions)

        return solve_batch(solver, cost, states, space, key, HORIZON, **options).actions

    return lambda: jax.block_until_ready(run(states, jax.random.key(0)))


def first_and_warm(call: Callable[[], Any], repeats: int) -> tuple[float, Timing]:
    """Seconds of the first call, and of the warm ones."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start, time_calls(call, repeats)


def compare_solvers(
    report: Report,
    effort: Effort,
    task: LatentTask,
    states: Any,
    latent: dict[str, dict[str, Any]],
    physical: dict[str, dict[str, Any]],
    repeats: int,
    reference: dict[str, Any] | None,
) -> None:
    """One plan of every solver on both tasks."""
    rows = []
    jobs = [(LEWM, name, options, task.plan(make_solver(name, options))) for name, options in latent.items()]
    jobs += [
        (PHYSICS, name, options, physics_plan(states, make_solver(name, options))) for name, options in physical.items()
    ]
    for kind, name, options, call in jobs:
        progress(f"swmjax: {kind}, {name}")
        first, timing = first_and_warm(call, repeats)
        theirs = (reference or {}).get("seconds", {}).get(f"{kind} {name}")
        budget = f"{options['num_samples']} x {options.get('n_steps', options.get('n_inner_steps', 1))}"
        row = [f"{kind}: {name}", budget, f"{first - timing.median:.1f}", timing.shown()]
        if theirs:
            other = Timing(tuple(theirs))
            row += [other.shown(), f"{other.median / timing.median:.2f}x"]
        else:
            row += [NOT_MEASURED, NOT_MEASURED]
        rows.append(row)
    title = (
        f"One plan of every solver, horizon {HORIZON} x {ACTION_BLOCK} actions, frames to actions on the LeWM; "
        "warm ms: median (least..most)\nGradient solvers: starts x steps"
    )
    report.table(title, ["", "N x steps", "compile s", "swmjax ms", "reference ms", "reference / swmjax"], rows)


def many_problems(
    report: Report,
    effort: Effort,
    task: LatentTask,
    options: dict[str, Any],
    repeats: int,
    reference: dict[str, Any] | None,
) -> None:
    """Many problems in one call, beside the reference's default of one after the other."""
    repeats, rows = min(repeats, 3), []
    theirs = Timing(tuple(reference["problems"])) if reference else None
    for label, size in (("one after the other", 1), ("five side by side", 5)):
        progress(f"swmjax: {effort.problems} problems, {label}")
        call = task.plan(make_solver("cem", options), effort.problems, batch_size=min(size, effort.problems))
        _, timing = first_and_warm(call, repeats)
        ratio = f"{theirs.median / timing.median:.2f}x" if theirs else NOT_MEASURED
        rows.append([label, timing.shown(1.0, 2), theirs.shown(1.0, 2) if theirs else NOT_MEASURED, ratio])
    title = (
        f"{effort.problems} LeWM problems in one call, CEM {options['num_samples']} x {options['n_steps']}; "
        "s: median (least..most); the reference's default is one after the other"
    )
    report.table(title, ["problems", "swmjax s", "reference s", "reference / swmjax"], rows)


def candidate_rates(report: Report, effort: Effort, task: LatentTask, states: Any, repeats: int) -> None:
    """Candidates scored per second as their number grows."""
    rows = []
    for count in effort.rates:
        progress(f"swmjax: {count} candidates")
        solver = CEMSolver(num_samples=count, n_steps=1, topk=max(2, count // 10))
        chunk = {"candidate_chunk": effort.chunk} if count > effort.chunk else {}
        times = repeats if count <= effort.chunk else min(repeats, 3)
        _, latent = first_and_warm(task.plan(solver, **chunk), times)
        _, physics = first_and_warm(physics_plan(states, solver), times)
        rows.append([f"{count:,}", latent.rates(count), physics.rates(count)])
    title = (
        f"Candidates of horizon {HORIZON} scored per second, one CEM iteration, one problem: median (least..most)\n"
        f"LeWM: encoding included, in slices of {effort.chunk:,} at most"
    )
    report.table(title, ["candidates", LEWM, PHYSICS], rows)


def driver_overhead(report: Report, repeats: int) -> None:
    """What an iteration costs when the cost function is free."""

    def plan(steps: int) -> Timing:
        solver = CEMSolver(num_samples=300, n_steps=steps, topk=30)
        run = jax.jit(lambda key: solve(solver, lambda actions: actions[:, 0, 0], LATENT_SPACE, key, HORIZON).actions)
        call = lambda: jax.block_until_ready(run(jax.random.key(0)))  # noqa: E731
        call()
        return time_calls(call, max(repeats, 20))

    short, long = plan(1), plan(31)
    report.line(
        f"Driver and CEM on a trivial cost, 300 candidates, H={HORIZON}, A={ACTION_SIZE}: "
        f"{1e6 * (long.median - short.median) / 30:.0f} us an iteration, {1e6 * short.median:.0f} us for a plan of one"
    )


if __name__ == "__main__":
    main()
