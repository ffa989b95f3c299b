"""Run an evaluation: compile once, run batch by batch, keep what is done, and measure."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from envs_mjx.checks import UserError
from swmjax.policies import MPCPolicy
from swmjax.runs.folder import RunFolder
from swmjax.runs.interrupts import Stopped
from swmjax.runs.telling import Note, Progress, silent
from swmjax.runs.watched import watched
from swmjax.world.config import EvalConfig
from swmjax.world.episodes import Episodes, run_episodes
from swmjax.world.protocols import Protocol
from swmjax.world.results import results_of, speed_of
from swmjax.world.rows import episodes_table, factor_column
from swmjax.world.setup import Setup
from swmjax.world.statistics import Latency
from swmjax.world.video import write_video

Row = dict[str, Any]
VIDEO = "episodes.mp4"
_LATENCY_CALLS = 20
_LATENCY_SECONDS = 5.0
_LATENCY_LEAST = 5
_LATENCY_PATIENCE = 30.0
"""Seconds after which even fewer measurements will do."""
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
    table = episodes_table(config.factors(setup.env))
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
                made_of=(setup.env, config.budget, _video_episodes(config), config.factors(setup.env)),
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
                for row in _rows(config, numbers, episodes, setup.env.has_success):
                    rows.setdefault(row["episode"], row)  # what is run again for the video was kept
                table.write(folder.path, _sorted(rows))
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
            table.write(folder.path, kept)
        folder.write_results(results_of(config, kept, setup.notes, complete=False))
        raise Stopped(len(kept)) from None
    fresh = [rows[i] for i in waiting]
    results = results_of(config, _sorted(rows), setup.notes, complete=True)
    results |= speed_of(config, fresh, timing.plans, timing.compile, timing.run) | latency
    folder.write_results(results)
    progress("done", len(rows))
    return results


def _video_episodes(config: EvalConfig) -> int:
    """Episodes in the video, all of the first batch."""
    return min(config.video_episodes, config.batch_size, config.episodes)


def episodes_program(config: EvalConfig, setup: Setup) -> Callable[..., dict[str, Any]]:
    """The program of all batches: from policy, protocol and what `batch` makes of numbers to fields of `Episodes`."""
    env, budget, shown = setup.env, config.budget, _video_episodes(config)
    factors = config.factors(env)

    def program(policy: MPCPolicy, protocol: Protocol, rows: Array, alive: Array, rendering: Array) -> dict[str, Any]:
        start = protocol.start(env, rows).replace(alive=alive)
        episodes = run_episodes(env, policy, start, budget, shown, rendering, until=protocol.until, factors=factors)
        return dict(vars(episodes))

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
    began = time.perf_counter()

    def more() -> bool:
        spent = time.perf_counter() - began
        if len(seconds) < _LATENCY_LEAST:
            return spent < _LATENCY_PATIENCE
        return len(seconds) < _LATENCY_CALLS and spent < _LATENCY_SECONDS

    while not seconds or more():
        start = time.perf_counter()
        plans = int(play([episode], False).plans[0])
        seconds.append((time.perf_counter() - start) / plans)
    latency = Latency.of(seconds)
    return {"plan_latency_s": {"median": latency.median, "p95": latency.p95, "calls": latency.n}}


def _sorted(rows: dict[int, Row]) -> list[Row]:
    return [rows[i] for i in sorted(rows)]


def _rows(config: EvalConfig, numbers: Sequence[int], episodes: Episodes, judged: bool) -> list[Row]:
    def vectors(values: Any, k: int) -> list[float] | None:
        return None if values is None else np.asarray(values[k], float).tolist()

    return [
        {
            "episode": i,
            "seed": config.seed + i,
            "start": vectors(episodes.start, k),
            "goal": vectors(episodes.goal, k),
            "success": bool(episodes.success[k]) if judged else None,
            "steps": int(episodes.steps[k]),
            "final_distance": None if episodes.final_distance is None else float(episodes.final_distance[k]),
            "return": float(episodes.returns[k]),
            "ended": bool(episodes.ended[k]),
            "solved_at_start": bool(episodes.solved_at_start[k]),
            "plans": int(episodes.plans[k]),
            "failed_plans": int(episodes.failed_plans[k]),
            **{factor_column(name): vectors(values, k) for name, values in episodes.factors.items()},
        }
        for k, i in enumerate(numbers)
    ]
