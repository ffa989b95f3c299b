"""The training loop: compile once, train epoch by epoch, judge, save, and go on where an earlier run stopped."""

import abc
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from swmjax.runs.folder import RunFolder
from swmjax.runs.interrupts import Stopped
from swmjax.runs.telling import Note, Progress, silent
from swmjax.runs.watched import Watched, watched
from swmjax.training import progress as written
from swmjax.training.learner import Learner
from swmjax.training.progress import Row
from swmjax.training.states import load_state, save_state, saved_epochs


class Evaluation(abc.ABC):
    """How a training is judged."""

    score: ClassVar[str]
    """The figure that is to be as high as possible."""

    @abc.abstractmethod
    def begin(self, run: Watched, model: Any) -> None:
        """Compile what is needed.

        Args:
            run: The run.
            model: What the learner exports where the training begins or goes on.
        """

    @abc.abstractmethod
    def __call__(self, run: Watched, model: Any, epoch: int) -> dict[str, float]:
        """Figures of what the learner exports after an epoch, `score` among them."""

    @abc.abstractmethod
    def draw(self, rows: list[Row]) -> None:
        """Draw the curve of the rows so far.

        Raises:
            MissingExtraError: A package is not installed that drawing needs.
        """


@dataclass
class Trained:
    """A training on its way, and at its end.

    Attributes:
        score: The figure that it is judged by.
        steps: Steps so far.
        updates: Gradient steps so far.
        rows: One for each evaluation.
        train_seconds: Time of the epochs, those of earlier runs included.
        compile_seconds: Time of compiling.
    """

    score: str
    steps: int = 0
    updates: int = 0
    rows: list[Row] = field(default_factory=list)
    train_seconds: float = 0.0
    compile_seconds: float = 0.0

    @property
    def best(self) -> Row:
        """The first row with the highest score."""
        return max(self.rows, key=lambda row: row[self.score])


def train(
    learner: Learner,
    folder: Path,
    *,
    key: Key[Array, ""],
    epochs: int,
    epochs_per_evaluation: int,
    evaluate: Evaluation,
    save: Callable[[Any, Row], None],
    source: Callable[[int], Any] = lambda epoch: None,
    progress: Progress = silent,
    note: Note = silent,
) -> Trained:
    """Train, from the start or from the last state in the run folder.

    The numbers of a training that was stopped and resumed on the same device are those of one that was not, to the
    bit.

    Args:
        learner: What learns.
        folder: Existing run folder. `progress.csv` is written at every evaluation; `checkpoints/` holds the last two
            states.
        key: Decides the first state.
        epochs: Epochs of the whole training; it can be stopped after each.
        epochs_per_evaluation: Epochs from one evaluation to the next; there is one before the first epoch too.
        evaluate: Judges what has been learnt.
        save: Told what has been exported, and its row, whenever no earlier score was higher.
        source: Batches of an epoch, of the same shapes for every one.
        progress: Told the stage and the steps so far.
        note: Told what the user should read at once, and once what could not be done and is not needed to go on.

    Raises:
        Stopped: The user stopped the training; its state is saved.
        KeyboardInterrupt: The user stopped it before there was a state.
        UserError: A saved state cannot be gone on from.
        OSError: As the file system says it; before anything is computed if nothing can be written to the folder.
    """
    RunFolder(folder).check_writable()
    saved = saved_epochs(folder)
    epoch = saved[-1] if saved else 0
    trained, drawing = Trained(evaluate.score), True

    def judge(run: Watched, model: Any, state: Any, losses: dict[str, Any]) -> None:
        nonlocal drawing
        counts = {"epoch": epoch, "steps": int(state.steps), "updates": int(state.updates)}
        figures = evaluate(run, model, epoch)
        row = counts | {"seconds": round(trained.train_seconds, 3)} | figures | _numbers(losses)
        best = trained.best[trained.score] if trained.rows else -np.inf
        trained.rows.append(row)
        if row[trained.score] >= best:
            save(model, row)
        written.write_table(folder, trained.rows)
        if drawing:
            try:
                evaluate.draw(trained.rows)
            except ImportError as error:
                drawing = False
                note(str(error))

    try:
        with watched(progress, note, epoch * learner.steps_per_epoch) as run:
            if saved:
                state = load_state(folder, epoch, jax.eval_shape(functools.partial(_init, learner), key))
                trained.rows = written.read_table(folder, epoch, trained.score)
                trained.train_seconds = trained.rows[-1]["seconds"] if trained.rows else 0.0
            else:
                state = run.compile("compiling", _init, learner, key)[0](key)
            shapes = jax.eval_shape(lambda state: state, state)
            advance, _ = run.compile("compiling", _epoch, learner, shapes, source(epoch))
            export, _ = run.compile("compiling", _export, learner, shapes)
            model = export(state)
            evaluate.begin(run, model)
            trained.compile_seconds = run.compile_seconds
            if not trained.rows:
                judge(run, model, state, {})
            while epoch < epochs:
                run.show("training")
                start = time.perf_counter()
                state, losses = run.finish(advance, state, source(epoch))
                trained.train_seconds += time.perf_counter() - start
                epoch += 1
                run.done = epoch * learner.steps_per_epoch
                due = epoch % epochs_per_evaluation == 0
                if due:
                    run.show("evaluating")
                    judge(run, export(state), state, losses)
                if due or run.stop.asked:
                    save_state(folder, epoch, state)
                if epoch < epochs:
                    run.leave_if_asked()
    except KeyboardInterrupt:
        saved = saved_epochs(folder)
        raise (Stopped(saved[-1] * learner.steps_per_epoch) if saved else KeyboardInterrupt) from None
    progress("done", run.done)
    trained.steps, trained.updates = int(state.steps), int(state.updates)
    return trained


# The learner is static, so that equal ones run the same programs.
@functools.partial(jax.jit, static_argnums=0)
def _init(learner: Learner, key: Key[Array, ""]) -> Any:
    return jax.tree.map(_strong, learner.init(key))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _epoch(learner: Learner, state: Any, batches: Any) -> tuple[Any, dict[str, Array]]:
    return learner.epoch(state, batches)


@functools.partial(jax.jit, static_argnums=0)
def _export(learner: Learner, state: Any) -> Any:
    return learner.export(state)


def _strong(leaf: Any) -> Array:
    """The same without a weak type, which a saved state would not have either: both must run the same program."""
    array = jnp.asarray(leaf)
    return array if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else jnp.asarray(array, array.dtype)


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in jax.device_get(figures).items()}
