"""Run an evaluation: compile once, run batch by batch, keep what is done, and measure."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import swmjax
from envs_mjx.checks import UserError
from swmjax.runs.folder import RunFolder
from swmjax.runs.interrupts import Stopped
from swmjax.runs.watched import Note, Progress, Watched, silent, watched
from swmjax.world.config import ORACLE, EvalConfig
from swmjax.world.episodes import Episodes, run_episodes, start_states
from swmjax.world.film import write_film
from swmjax.world.problems import Problems
from swmjax.world.rows import EPISODES
from swmjax.world.setup import Setup
from swmjax.world.statistics import Latency, wilson_interval

Row = dict[str, Any]
FILM = "episodes.mp4"
_LATENCY_CALLS = 20
_LATENCY_SECONDS = 10.0
_LATENCY_LEAST = 5
_LEAST_ROWS = 3
"""Rows of the smallest program; fewer are filled up. For one or two XLA vectorises otherwise and fuses other
multiply-adds, and the same episode would come out different in its last bits."""


@dataclass(frozen=True)
class Timing:
    """How long the parts of a run took, in s, compilation apart."""

    compile_episodes: float
    compile_plan: float
    run: float
    plan: Latency


def evaluate(
    config: EvalConfig,
    setup: Setup,
    folder: RunFolder,
    done: Sequence[Row] = (),
    progress: Progress = silent,
    note: Note = silent,
) -> dict[str, Any]:
    """Run the episodes that are not done yet, and write everything to the run folder.

    Args:
        config: Settings.
        setup: What `set_up` made of them.
        folder: Where `episodes.parquet` grows with every batch. The video comes with the first episodes, which are
            run again for it if an earlier run was stopped before it was made; `results.json` comes at the end.
        done: Rows of an earlier, interrupted run of the same settings.
        progress: Told the stage and the number of episodes done.
        note: Told what the user should read at once.

    Returns:
        The content of `results.json`.

    Raises:
        Stopped: The user stopped the run; the rows so far are in the folder.
        UserError: A row of `done` is not one of these settings.
    """
    for row in done:
        if not 0 <= row["episode"] < config.episodes or row["seed"] != config.seed + row["episode"]:
            raise UserError(
                f"{folder.path}: episode {row['episode']} with seed {row['seed']} is not one of these settings: "
                f"{config.episodes} episodes from seed {config.seed}"
            )
    rows = {row["episode"]: row for row in done}
    filmed = 0 if (folder.path / FILM).exists() else _filmed(config)
    waiting = [i for i in range(config.episodes) if i not in rows or i < filmed]
    size = min(config.batch_size, max(len(waiting), 1))
    filled = max(size, _LEAST_ROWS)
    run_seconds, compile_seconds = 0.0, 0.0
    problem: Any = None
    try:
        with watched(progress, note, len(rows)) as run:
            if waiting:
                inputs = _batch(config, setup, waiting[:size], filled)
                program, compile_seconds = run.compile(
                    "compiling the episodes", _episodes_program(config, setup), setup.weights, *inputs
                )
            for first in range(0, len(waiting), size):
                run.show("episodes")
                batch = waiting[first : first + size]
                inputs = _batch(config, setup, batch, filled)
                start = time.perf_counter()
                episodes: Episodes = run.finish(program, setup.weights, *inputs)
                run_seconds += time.perf_counter() - start
                problem = problem or (_batch(config, setup, batch[:1], 1)[0], *episodes.first_problem)
                for row in _rows(config, batch, episodes):
                    rows[row["episode"]] = row
                EPISODES.write(folder.path, _sorted(rows))
                run.done = len(rows)
                run.leave_if_asked()
                if batch[0] < filmed:
                    write_film(folder.path / FILM, setup.env, episodes, run)
                    run.leave_if_asked()
            problem = problem or _draw(config, setup, run)
            latency, plan_compile = _plan_latency(setup, problem, run)
    except KeyboardInterrupt:
        kept = _sorted(rows)
        if kept:
            EPISODES.write(folder.path, kept)
        folder.write_results(_results(config, kept, complete=False))
        raise Stopped(len(kept)) from None
    timing = Timing(compile_seconds, plan_compile, run_seconds, latency)
    fresh = [rows[i] for i in waiting]
    results = _results(config, _sorted(rows), complete=True) | _speed(config, fresh, timing)
    folder.write_results(results)
    progress("done", len(rows))
    return results


def _filmed(config: EvalConfig) -> int:
    """Episodes in the video, all of the first batch."""
    return min(config.video_episodes, config.batch_size, config.episodes)


def _episodes_program(config: EvalConfig, setup: Setup) -> Callable[..., Episodes]:
    filmed = _filmed(config)

    def program(weights: Any, seeds: Array, problems: Problems | None) -> Episodes:
        policy = setup.policy(weights)
        return run_episodes(setup.env, policy, seeds, config.budget, config.goal_offset, filmed, problems)

    return program


def _draw(config: EvalConfig, setup: Setup, run: Watched) -> tuple[Any, ...]:
    """The problem of episode 0, for a run without episodes of its own; others are spared the compilation."""

    def program(seeds: Array, problems: Problems | None) -> tuple[Any, Any]:
        return start_states(setup.env, seeds, config.goal_offset, problems)

    seeds, problems = _batch(config, setup, [0], 1)
    return seeds, *run.compile("compiling one problem", program, seeds, problems)[0](seeds, problems)


def _plan_latency(setup: Setup, problem: tuple[Any, ...], run: Watched) -> tuple[Latency, float]:
    """Time from the state of one environment to its plan, warm; and how long that program took to compile."""

    def plan(weights: Any, seeds: Array, states: Any, goal_states: Any) -> Array:
        policy = setup.policy(weights)
        return policy.plan(policy.init(seeds, goal_states), states).actions

    program, compile_seconds = run.compile("compiling one plan", plan, setup.weights, *problem)
    run.finish(program, setup.weights, *problem)
    run.show("timing plans")
    seconds: list[float] = []
    while len(seconds) < _LATENCY_LEAST or (len(seconds) < _LATENCY_CALLS and sum(seconds) < _LATENCY_SECONDS):
        start = time.perf_counter()
        jax.block_until_ready(program(setup.weights, *problem))
        seconds.append(time.perf_counter() - start)
    return Latency.of(seconds), compile_seconds


def _batch(config: EvalConfig, setup: Setup, episodes: Sequence[int], size: int) -> tuple[Array, Problems | None]:
    """Seeds and recorded problems; a short batch is filled up with its last episode, so that one program serves all."""
    filled = [*episodes, *[episodes[-1]] * size][:size]
    seeds = jnp.asarray([config.seed + i for i in filled], jnp.int32)
    return seeds, None if setup.problems is None else setup.problems.take(filled)


def _sorted(rows: dict[int, Row]) -> list[Row]:
    return [rows[i] for i in sorted(rows)]


def _rows(config: EvalConfig, batch: Sequence[int], episodes: Episodes) -> list[Row]:
    host = jax.device_get(episodes.replace(trajectory=None, shown_goals=None))
    return [
        {
            "episode": i,
            "seed": config.seed + i,
            "start": np.asarray(host.start[k], float).tolist(),
            "goal": np.asarray(host.goal[k], float).tolist(),
            "success": bool(host.success[k]),
            "steps": int(host.steps[k]),
            "final_distance": float(host.final_distance[k]),
        }
        for k, i in enumerate(batch)
    ]


def _results(config: EvalConfig, rows: Sequence[Row], complete: bool) -> dict[str, Any]:
    successes = sum(row["success"] for row in rows)
    return {
        "env": config.env,
        "model": config.model,
        "solver": config.solver["name"],
        "episodes": len(rows),
        "complete": complete,
        "successes": successes,
        "success_rate": successes / len(rows) if rows else None,
        "success_interval_95": list(wilson_interval(successes, len(rows))) if rows else None,
        "mean_final_distance": float(np.mean([row["final_distance"] for row in rows])) if rows else None,
        "device": jax.devices()[0].device_kind,
        "dtype": "float32",
        "versions": {"swmjax": swmjax.__version__, "jax": jax.__version__, "python": platform.python_version()},
    }


def _speed(config: EvalConfig, fresh: Sequence[Row], timing: Timing) -> dict[str, Any]:
    """Figures of the episodes that this run added."""
    solver = config.make_solver()
    plans = -(-config.budget // config.plan.steps_per_plan) * len(fresh)
    candidates = plans * solver.num_samples * solver.n_steps
    executed = sum(row["steps"] for row in fresh)
    simulated = candidates * config.plan.horizon * config.plan.action_block if config.model == ORACLE else 0

    def rate(count: int) -> float | None:
        return count / timing.run if fresh and timing.run > 0.0 else None

    return {
        "plan_latency_s": {"median": timing.plan.median, "p95": timing.plan.p95, "calls": timing.plan.n},
        "compile_s": {"episodes": timing.compile_episodes, "plan": timing.compile_plan},
        "run_s": timing.run,
        "candidates_per_s": rate(candidates),
        "env_steps_per_s": rate(executed + simulated),
        "executed_env_steps_per_s": rate(executed),
    }
