"""The loop with a learner that is no expert: fed by a source, judged by the test, stopped and resumed."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs_mjx.checks import MissingExtraError
from swmjax.runs.interrupts import Stopped
from swmjax.runs.watched import Watched
from swmjax.training import Evaluation, Learner, train
from swmjax.training.progress import read_table
from swmjax.training.states import saved_epochs


@chex.dataclass(frozen=True)
class State:
    value: jax.Array
    key: jax.Array
    steps: jax.Array
    updates: jax.Array


@dataclass(frozen=True)
class Follower(Learner):
    """Goes a share of the way to the mean of a batch, with noise."""

    share: float = 0.5

    @property
    def steps_per_epoch(self):
        return 10

    def init(self, key):
        return State(value=jnp.zeros(()), key=key, steps=0, updates=0)

    def epoch(self, state, batches):
        noise_key, key = jax.random.split(state.key)
        error = batches.mean() - state.value
        value = state.value + self.share * error + 0.01 * jax.random.normal(noise_key)
        state = state.replace(value=value, key=key, steps=state.steps + 10, updates=state.updates + 1)
        return state, {"error": jnp.abs(error)}

    def export(self, state):
        return {"value": state.value}


class Nearness(Evaluation):
    """How near to 3 the value is."""

    score = "nearness"

    def __init__(self):
        self.drawn = []

    def begin(self, run, model):
        assert isinstance(run, Watched)
        assert model["value"] == 0.0

    def __call__(self, run, model, epoch):
        return {"nearness": -abs(float(model["value"]) - 3.0)}

    def draw(self, rows):
        self.drawn.append(len(rows))


# Batches whose mean is 3, and then less and less.
def batches(epoch):
    return jnp.full((4,), 3.0 if epoch < 4 else 1.0)


def run(folder, progress=lambda stage, steps: None, judge=None, epochs=8, **options):
    saved = []
    trained = train(
        Follower(),
        folder,
        key=jax.random.key(5),
        epochs=epochs,
        epochs_per_evaluation=2,
        evaluate=judge or Nearness(),
        save=lambda model, row: saved.append((row["epoch"], float(model["value"]))),
        source=batches,
        progress=progress,
        **options,
    )
    return trained, saved


def test_the_best_is_saved_and_everything_written_down(tmp_path):
    judge = Nearness()
    trained, saved = run(tmp_path, judge=judge)
    rows = read_table(tmp_path, 10**9, "nearness")
    assert [(row["epoch"], row["steps"], row["updates"]) for row in rows] == [(i, 10 * i, i) for i in range(0, 9, 2)]
    assert list(rows[0]) == ["epoch", "steps", "updates", "seconds", "nearness", "error"]
    assert np.isnan(rows[0]["error"])
    assert [epoch for epoch, _ in saved] == [0, 2, 4]
    assert trained.best == trained.rows[2]
    assert (trained.steps, trained.updates) == (80, 8)
    assert trained.compile_seconds > 0.0
    assert judge.drawn == [1, 2, 3, 4, 5]
    assert saved_epochs(tmp_path) == [6, 8]


def test_stopped_and_resumed_it_is_the_same_to_the_bit(tmp_path):
    def third(stage, steps):
        if (stage, steps) == ("training", 20):
            os.kill(os.getpid(), signal.SIGINT)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected, saved = run(whole)
    with pytest.raises(Stopped) as stopped:
        run(parts, third)
    assert stopped.value.done == 30
    assert saved_epochs(parts) == [2, 3]

    class Resumed(Nearness):
        def begin(self, run, model):
            assert model["value"] != 0.0

    trained, later = run(parts, judge=Resumed())
    assert [row["nearness"] for row in trained.rows] == [row["nearness"] for row in expected.rows]
    assert later == saved[2:]


def test_a_second_signal_tells_what_is_saved(tmp_path):
    def interrupt(stage, steps):
        if (stage, steps) == ("training", at):
            raise KeyboardInterrupt

    at = 0
    with pytest.raises(KeyboardInterrupt) as interrupted:
        run(tmp_path, interrupt)
    assert not isinstance(interrupted.value, Stopped)
    at = 50
    with pytest.raises(Stopped) as stopped:
        run(tmp_path, interrupt)
    assert stopped.value.done == 40


def test_a_curve_that_cannot_be_drawn_is_noted_once(tmp_path: Path):
    class Blind(Nearness):
        def draw(self, rows):
            raise MissingExtraError("a curve needs paper")

    notes: list[str] = []
    run(tmp_path, judge=Blind(), note=notes.append)
    assert notes == ["a curve needs paper"]
