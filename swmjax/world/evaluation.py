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
from swmjax.policies import MPCPolicy
from swmjax.runs.folder import RunFolder
from swmjax.runs.interrupts import Stopped
from swmjax.runs.watched import Note, Progress, silent, watched
from swmjax.world.config import ORACLE, EvalConfig
from swmjax.world.episodes import Episodes, run_episodes
from swmjax.world.protocols import Protocol
from swmjax.world.rows import EPISODES
from swmjax.world.setup import Setup
from swmjax.world.statistics import Latency, wilson_interval
from swmjax.world.video import write_video

Row = dict[str, Any]
VIDEO = "episodes.mp4"
_LATENCY_CALLS = 20
_LATENCY_SECONDS = 5.0
_LATENCY_LEAST = 5
_LEAST_ROWS = 3
"""Rows of the smallest program; fewer are filled up. For one or two XLA vectorises otherwise and fuses other
multiply-adds, and the same episode would come out different in its last bits."""


@dataclass
class Timing:
    """How long the parts of a run took, in s, and the plans that were made meanwhile."""

    compile: float = 0.0
    run: float = 0.0
    plans: int = 0


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
        OSError: As the file system says it; before anything is computed if nothing can be written to the folder.
    """
    folder.check_writable()
    for row in done:
        if not 0 <= row["episode"] < config.episodes or row["seed"] != config.seed + row["episode"]:
            raise UserError(
                f"{folder.path}: episode {row['episode']} with seed {row['seed']} is not one of these settings: "
                f"{config.episodes} episodes from seed {config.seed}"
            )
    rows = {row["episode"]: row for row in done}
    missing = 0 if (folder.path / VIDEO).exists() else _video_episodes(config)
    waiting = [i for i in range(config.episodes) if i not in rows or i < missing]
    size = min(config.batch_size, max(len(waiting), 1))
    timing = Timing()
    try:
        with watched(progress, note, len(rows)) as run:
            rows_a_batch = max(size, _LEAST_ROWS)
            program, timing.compile = run.compile(
                "compiling the episodes",
                episodes_program(config, setup),
                setup.policy,
                setup.protocol,
                *batch([0], rows_a_batch, False),
                made_of=(setup.env, config.budget, _video_episodes(config)),
            )

            def play(episodes: Sequence[int], rendering: bool) -> Episodes:
                inputs = batch(episodes, rows_a_batch, rendering)
                return jax.device_get(Episodes(**run.finish(program, setup.policy, setup.protocol, *inputs)))

            for first in range(0, len(waiting), size):
                run.show("episodes")
                numbers = waiting[first : first + size]
                rendering = numbers[0] < missing
                start = time.perf_counter()
                episodes = play(numbers, rendering)
                timing.run += time.perf_counter() - start
                timing.plans += int(episodes.plans[: len(numbers)].sum())
                for row in _rows(config, numbers, episodes):
                    rows.setdefault(row["episode"], row)  # what is run again for the video was kept
                EPISODES.write(folder.path, _sorted(rows))
                run.done = len(rows)
                run.leave_if_asked()
                if rendering:
                    run.show("video")
                    write_video(folder.path / VIDEO, episodes)
                    run.leave_if_asked()
            run.show("timing plans")
            latency = _plan_latency(play, rows)
    except KeyboardInterrupt:
        kept = _sorted(rows)
        if kept:
            EPISODES.write(folder.path, kept)
        folder.write_results(_results(config, kept, complete=False))
        raise Stopped(len(kept)) from None
    fresh = [rows[i] for i in waiting]
    results = _results(config, _sorted(rows), complete=True) | _speed(config, fresh, timing) | latency
    folder.write_results(results)
    progress("done", len(rows))
    return results


def _video_episodes(config: EvalConfig) -> int:
    """Episodes in the video, all of the first batch."""
    return min(config.video_episodes, config.batch_size, config.episodes)


def episodes_program(config: EvalConfig, setup: Setup) -> Callable[..., dict[str, Any]]:
    """The program of all batches: from policy, protocol and what `batch` makes of numbers to fields of `Episodes`."""
    env, budget, shown = setup.env, config.budget, _video_episodes(config)

    def program(policy: MPCPolicy, protocol: Protocol, rows: Array, alive: Array, rendering: Array) -> dict[str, Any]:
        start = protocol.start(env, rows).replace(alive=alive)
        return dict(vars(run_episodes(env, policy, start, budget, shown, rendering)))

    return program


def batch(episodes: Sequence[int], size: int, rendering: bool) -> tuple[Array, Array, Array]:
    """Numbers of episodes, which of them are played, and whether their frames are rendered.

    A batch is filled up with rows that are not played, so that one program serves all.
    """
    rows = [*episodes, *[episodes[-1]] * size][:size]
    return jnp.asarray(rows, jnp.int32), jnp.arange(size) < len(episodes), jnp.asarray(rendering)


def _plan_latency(play: Callable[[Sequence[int], bool], Episodes], rows: dict[int, Row]) -> dict[str, Any]:
    """Seconds of a plan and of the steps that are executed of it, of an episode that is played alone; warm.

    None where every episode starts solved, so that nothing is planned.
    """
    episode = next((i for i in sorted(rows) if rows[i]["steps"] > 0), None)
    if episode is None:
        return {"plan_latency_s": None}
    seconds: list[float] = []
    while len(seconds) < _LATENCY_LEAST or (len(seconds) < _LATENCY_CALLS and sum(seconds) < _LATENCY_SECONDS):
        start = time.perf_counter()
        plans = int(play([episode], False).plans[0])
        seconds.append((time.perf_counter() - start) / plans)
    latency = Latency.of(seconds)
    return {"plan_latency_s": {"median": latency.median, "p95": latency.p95, "calls": latency.n}}


def _sorted(rows: dict[int, Row]) -> list[Row]:
    return [rows[i] for i in sorted(rows)]


def _rows(config: EvalConfig, numbers: Sequence[int], episodes: Episodes) -> list[Row]:
    return [
        {
            "episode": i,
            "seed": config.seed + i,
            "start": np.asarray(episodes.start[k], float).tolist(),
            "goal": np.asarray(episodes.goal[k], float).tolist(),
            "success": bool(episodes.success[k]),
            "steps": int(episodes.steps[k]),
            "final_distance": float(episodes.final_distance[k]),
        }
        for k, i in enumerate(numbers)
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
    candidates = timing.plans * solver.num_samples * solver.n_steps
    executed = sum(row["steps"] for row in fresh)
    simulated = candidates * config.plan.horizon * config.plan.action_block if config.model == ORACLE else 0

    def rate(count: int) -> float | None:
        return count / timing.run if fresh and timing.run > 0.0 else None

    return {
        "compile_s": {"episodes": timing.compile},
        "run_s": timing.run,
        "candidates_per_s": rate(candidates),
        "env_steps_per_s": rate(executed + simulated),
        "executed_env_steps_per_s": rate(executed),
    }
