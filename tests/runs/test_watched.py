"""What a user sees of a run: stages, the time that compiling takes, and the answer to Ctrl-C."""

import os
import signal
import threading

import jax
import jax.numpy as jnp
import pytest

from swmjax.runs.interrupts import Stopped
from swmjax.runs.telling import silent
from swmjax.runs.watched import watched


@pytest.fixture
def told():
    return []


class SlowProgram:
    """Takes as long to compile as somebody watches it."""

    def __init__(self):
        self.seen = threading.Event()
        self.kept = False

    def lower(self, *args):
        return self

    def __call__(self):
        raise AssertionError

    def compile(self):
        assert self.seen.wait(60)
        self.kept = True
        return self


def test_stages_come_with_what_is_done(told):
    with watched(lambda *args: told.append(args), silent, 3) as run:
        run.show("playing")
        run.done += 1
        run.show("playing")
    assert told == [("playing", 3), ("playing", 4)]


@pytest.mark.parametrize("function", [lambda x: 2 * x, jax.jit(lambda x: 2 * x)])
def test_a_compiled_program_and_its_results(function):
    with watched(silent, silent) as run:
        program, seconds = run.compile("compiling", function, jnp.zeros(3))
        assert run.finish(program, jnp.ones(3)).tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(TypeError):
            program(jnp.ones(4))
    assert seconds > 0.0


def test_compiling_tells_the_time_passed(told):
    program = SlowProgram()

    def progress(stage, done):
        told.append(stage)
        if len(told) == 3:
            program.seen.set()

    with watched(progress, silent) as run:
        assert run.compile("compiling", program)[0] is program
    assert told[:3] == ["compiling", "compiling, 0 s", "compiling, 0 s"]


def test_ctrl_c_is_answered_while_a_program_compiles_and_the_program_kept(told):
    program, notes = SlowProgram(), []

    def progress(stage, done):
        told.append(stage)
        if len(told) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            assert notes == ["stopping when the compiling ends; again to stop now"]
            assert not program.kept
            program.seen.set()

    with watched(progress, notes.append, 7) as run, pytest.raises(Stopped) as stopped:
        run.compile("compiling", program)
    assert stopped.value.done == 7
    assert program.kept
    assert len(notes) == 1


def test_elsewhere_ctrl_c_is_answered_by_the_stage(told):
    with watched(lambda stage, done: told.append(stage), told.append) as run:
        run.leave_if_asked()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            run.leave_if_asked()
    assert told == ["stopping"]


def test_settings_of_jax_that_hold_within_a_with_hold_for_compiling():
    with watched(silent, silent) as run, jax.numpy_rank_promotion("allow"):
        run.compile("compiling", lambda x: x + jnp.ones(3), jnp.zeros((2, 3)))
