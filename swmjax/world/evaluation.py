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
from swmjax.world.config import ORACLE, EvalConfig
from swmjax.world.episodes import Episodes, run_episodes, start_states
from swmjax.world.film import write_film
from swmjax.world.problems import Problems
from swmjax.world.run_folder import RunFolder
from swmjax.world.setup import Setup
from swmjax.world.statistics import Latency, wilson_interval

Row = dict[str, Any]
_LATENCY_CALLS = 20
_LATENCY_SECONDS = 10.0
_LATENCY_LEAST = 5
_LEAST_ROWS = 3
"""Rows of the smallest program; fewer are filled up. For one or two XLA vectorises otherwise and fuses other
multiply-adds, and the same episode would come out different in its last bits."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; what was finished is in the run folder."""

    def __init__(self, rows: Sequence[Row]):
        super().__init__()
        self.rows = list(rows)


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
    progress: Callable[[str, int], None] = lambda stage, episodes: None,
) -> dict[str, Any]:
    """Run the episodes that are not done yet, and write everything to the run folder.

    Args:
        config: Settings.
        setup: What `set_up` made of them.
        folder: Where `episodes.parquet` grows with every batch; `results.json` and the video come at the end.
        done: Rows of an earlier, interrupted run of the same settings.
        progress: Told the stage and the number of episodes done.

    Returns:
        The content of `results.json`.

    Raises:
        Interrupted: Ctrl-C; the rows so far are in the folder.
        UserError: A row of `done` is not one of these settings.
    """
    for row in done:
        if not 0 <= row["episode"] < config.episodes or row["seed"] != config.seed + row["episode"]:
            raise UserError(
                f"{folder.path}: episode {row['episode']} with seed {row['seed']} is not one of these settings: "
                f"{config.episodes} episodes from seed {config.seed}"
            )
    rows = {row["episode"]: row for row in done}
    waiting = [i for i in range(config.episodes) if i not in rows]
    size = min(config.batch_size, max(len(waiting), 1))
    filled = max(size, _LEAST_ROWS)
    run_seconds, compile_seconds = 0.0, 0.0
    problem: Any = None
    try:
        if waiting:
            progress("compiling the episodes", len(rows))
            program, compile_seconds = _compiled(
                _episodes_program(config, setup), setup.weights, *_batch(config, setup, waiting[:size], filled)
            )
        for first in range(0, len(waiting), size):
            progress("episodes", len(rows))
            batch = waiting[first : first + size]
            start = time.perf_counter()
            episodes: Episodes = jax.block_until_ready(program(setup.weights, *_batch(config, setup, batch, filled)))
            run_seconds += time.perf_counter() - start
            problem = problem or (_batch(config, setup, batch[:1], 1)[0], *episodes.first_problem)
            for row in _rows(config, batch, episodes):
                rows[row["episode"]] = row
            folder.write_episodes(_sorted(rows))
            if batch[0] == 0 and config.video_episodes:
                progress("video", len(rows))
                write_film(folder.path / "episodes.mp4", setup.env, episodes)
        progress("compiling one plan", len(rows))
        problem = problem or _draw(config, setup)
        latency, plan_compile = _plan_latency(setup, problem, lambda: progress("timing plans", len(rows)))
    except KeyboardInterrupt:
        kept = _sorted(rows)
        if kept:
            folder.write_episodes(kept)
        folder.write_results(_results(config, kept, complete=False))
        raise Interrupted(kept) from None
    timing = Timing(compile_seconds, plan_compile, run_seconds, latency)
    fresh = [rows[i] for i in waiting]
    results = _results(config, _sorted(rows), complete=True) | _speed(config, fresh, timing)
    folder.write_results(results)
    progress("done", len(rows))
    return results


def _episodes_program(config: EvalConfig, setup: Setup) -> Callable[..., Episodes]:
    filmed = min(config.video_episodes, config.batch_size, config.episodes)

    def program(weights: Any, seeds: Array, problems: Problems | None) -> Episodes:
        policy = setup.policy(weights)
        return run_episodes(setup.env, policy, seeds, config.budget, config.goal_offset, filmed, problems)

    return program


def _draw(config: EvalConfig, setup: Setup) -> tuple[Any, ...]:
    """The problem of episode 0, for a run without episodes of its own; others are spared the compilation."""
    seeds, problems = _batch(config, setup, [0], 1)
    return seeds, *jax.jit(lambda *args: start_states(setup.env, args[0], config.goal_offset, args[1]))(seeds, problems)


def _plan_latency(setup: Setup, problem: tuple[Any, ...], ready: Callable[[], None]) -> tuple[Latency, float]:
    """Time from the state of one environment to its plan, warm; and how long that program took to compile."""

    def plan(weights: Any, seeds: Array, states: Any, goal_states: Any) -> Array:
        policy = setup.policy(weights)
        return policy.plan(policy.init(seeds, goal_states), states).actions

    program, compile_seconds = _compiled(plan, setup.weights, *problem)
    jax.block_until_ready(program(setup.weights, *problem))
    ready()
    seconds: list[float] = []
    while len(seconds) < _LATENCY_LEAST or (len(seconds) < _LATENCY_CALLS and sum(seconds) < _LATENCY_SECONDS):
        start = time.perf_counter()
        jax.block_until_ready(program(setup.weights, *problem))
        seconds.append(time.perf_counter() - start)
    return Latency.of(seconds), compile_seconds


def _compiled(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], float]:
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    return compiled, time.perf_counter() - start


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
