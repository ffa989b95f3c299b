"""Run a training: compile once, train epoch by epoch, evaluate, save, and go on where an earlier run stopped."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from envs_mjx.checks import UserError
from swmjax.checkpoints.actors import ACTOR_FILE, write_actor
from swmjax.runs.interrupts import Stopped, asked_to_stop
from swmjax.training import progress as written
from swmjax.training.config import ExpertConfig
from swmjax.training.progress import Row
from swmjax.training.store import load_state, save_state, saved_epochs
from swmjax.training.task import Task

Progress = Callable[[str, int], None]


@dataclass
class _Programs:
    """The compiled parts of a training."""

    epoch: Callable[[Any], tuple[Any, dict[str, Array]]]
    actor: Callable[[Any], Any]
    evaluate: Callable[..., tuple[Array, Array]]
    seconds: float


@dataclass
class _Run:
    """A training on its way."""

    folder: Path
    state: Any
    epoch: int = 0
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    random_return: float = 0.0
    drawing: bool = True


def train_expert(
    config: ExpertConfig,
    folder: Path,
    progress: Progress = lambda stage, steps: None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train an expert, from the start or from the last state in the run folder.

    The numbers of a training that was stopped and resumed on the same device are those of one that was not, to the
    bit.

    Args:
        config: Settings.
        folder: Existing run folder. `progress.csv` and `learning_curve.png` are written at every evaluation,
            `expert.npz` when an evaluation is the best one, and `checkpoints/` holds the last two states.
        progress: Told the stage and the environment steps so far.
        note: Told once what could not be done and is not needed to go on.

    Returns:
        Figures of the training; `complete` is True.

    Raises:
        Stopped: Ctrl-C; the state is saved.
        UserError: The environment cannot be trained on, or a saved state cannot be gone on from.
        MissingExtraError: An extra is not installed.
    """
    task = config.make_task()
    algorithm = config.make_algorithm()
    start_key, play_key = jax.random.split(jax.random.key(config.seed))
    init = jax.jit(lambda key: jax.tree.map(_strong, algorithm.init(task, key)))
    saved = saved_epochs(folder)
    progress("compiling", saved[-1] * config.steps_per_epoch if saved else 0)
    run = _Run(folder, load_state(folder, saved[-1], jax.eval_shape(init, start_key)) if saved else init(start_key))
    if saved:
        run.epoch, run.rows = saved[-1], written.read_table(folder, saved[-1])
        run.seconds = run.rows[-1]["seconds"] if run.rows else 0.0
    programs = _compile(config, task, run.state, play_key)
    actor = programs.actor(run.state)
    run.random_return = float(np.mean(programs.evaluate(actor, jax.random.fold_in(play_key, 0), jnp.asarray(True))[0]))
    with asked_to_stop(lambda: progress("stopping", run.epoch * config.steps_per_epoch)) as stop:
        if not run.rows:
            _evaluate(config, run, programs, play_key, {}, note)
        while run.epoch < config.epochs:
            progress("training", run.epoch * config.steps_per_epoch)
            start = time.perf_counter()
            run.state, losses = jax.block_until_ready(programs.epoch(run.state))
            run.seconds += time.perf_counter() - start
            run.epoch += 1
            if run.epoch % config.epochs_per_evaluation == 0:
                progress("evaluating", run.epoch * config.steps_per_epoch)
                _evaluate(config, run, programs, play_key, jax.device_get(losses), note)
                save_state(folder, run.epoch, run.state)
            elif stop.asked:
                save_state(folder, run.epoch, run.state)
            if stop.asked and run.epoch < config.epochs:
                raise Stopped(run.epoch * config.steps_per_epoch)
    progress("done", run.epoch * config.steps_per_epoch)
    return _results(config, run, programs)


def _strong(leaf: Any) -> Array:
    """The same without a weak type, which a saved state would not have either: both must run the same program."""
    array = jnp.asarray(leaf)
    return array if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else jnp.asarray(array, array.dtype)


def _compile(config: ExpertConfig, task: Task, state: Any, key: Array) -> _Programs:
    algorithm = config.make_algorithm()
    start = time.perf_counter()
    epoch = jax.jit(lambda state: algorithm.epoch(task, state, config.iterations_per_epoch), donate_argnums=0)
    actor = jax.jit(lambda state: algorithm.actor(task, state))
    evaluate = jax.jit(lambda actor, key, random: task.evaluate(actor, key, config.eval_episodes, random))
    shapes = jax.eval_shape(lambda state: state, state)
    return _Programs(
        epoch=epoch.lower(shapes).compile(),
        actor=actor.lower(shapes).compile(),
        evaluate=evaluate.lower(jax.eval_shape(actor, shapes), key, jnp.asarray(True)).compile(),
        seconds=time.perf_counter() - start,
    )


def _evaluate(
    config: ExpertConfig,
    run: _Run,
    programs: _Programs,
    key: Array,
    losses: dict[str, Any],
    note: Callable[[str], None],
) -> None:
    """Play, and write down the row, the curve, and the policy if none was better."""
    actor = programs.actor(run.state)
    key = jax.random.fold_in(key, run.epoch)
    returns, lengths = jax.device_get(programs.evaluate(actor, key, jnp.asarray(False)))
    row: Row = {
        "epoch": run.epoch,
        "steps": int(run.state.steps),
        "updates": int(run.state.updates),
        "seconds": round(run.seconds, 3),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
        "length": float(lengths.mean()),
        **{name: float(value) for name, value in losses.items()},
    }
    if not np.isfinite(row["return_mean"]):
        raise UserError(
            f"{run.folder}: the training diverged after {row['steps']} steps; lower algorithm.learning_rate"
        )
    best = max((before["return_mean"] for before in run.rows), default=-np.inf)
    run.rows.append(row)
    if row["return_mean"] >= best:
        facts = {"env": config.env, "env_options": dict(config.env_options), "algorithm": config.algorithm["name"]}
        write_actor(run.folder / ACTOR_FILE, actor, facts | {"steps": row["steps"], "return": row["return_mean"]})
    written.write_table(run.folder, run.rows)
    if run.drawing:
        try:
            written.draw_curve(run.folder, run.rows, run.random_return, f"{config.env}, {config.algorithm['name']}")
        except ImportError as error:
            run.drawing = False
            note(str(error))


def _results(config: ExpertConfig, run: _Run, programs: _Programs) -> dict[str, Any]:
    best = max(run.rows, key=lambda row: row["return_mean"])
    return {
        "env": config.env,
        "algorithm": config.algorithm["name"],
        "complete": True,
        "steps": int(run.state.steps),
        "updates": int(run.state.updates),
        "best_return": best["return_mean"],
        "best_steps": best["steps"],
        "final_return": run.rows[-1]["return_mean"],
        "random_return": run.random_return,
        "train_s": run.seconds,
        "compile_s": programs.seconds,
        "device": jax.devices()[0].device_kind,
    }
