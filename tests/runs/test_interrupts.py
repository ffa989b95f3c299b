"""Stopping: the first signal asks, the second one interrupts, and nothing blocks either."""

import contextlib
import os
import signal
import threading
import time

import pytest

from swmjax.runs.interrupts import Stopped, asked_to_stop, attentively, interruptible

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_interrupts(number):
    usual, said = [signal.getsignal(each) for each in SIGNALS], []
    with asked_to_stop(lambda: said.append("stopping")) as stop:
        assert not stop.asked
        send(number)
        assert (stop.asked, said) == (True, ["stopping"])
        for again in SIGNALS:
            with pytest.raises(KeyboardInterrupt):
                send(again)
        assert said == ["stopping"]
    assert [signal.getsignal(each) for each in SIGNALS] == usual


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_that_ends_programs_interrupts(number):
    usual = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(KeyboardInterrupt), interruptible():
        send(number)
    assert [signal.getsignal(each) for each in SIGNALS] == usual


def test_an_interrupt_that_was_lost_is_not_forgotten():
    with interruptible():
        with contextlib.suppress(KeyboardInterrupt):
            send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), asked_to_stop():
            raise AssertionError("a run began")
    with asked_to_stop() as stop:
        assert not stop.asked


def test_a_terminal_that_went_away_does_not_end_the_run():
    def say():
        raise OSError(5, "Input/output error")

    with asked_to_stop(say) as stop:
        send(signal.SIGHUP)
        assert stop.asked


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with asked_to_stop() as stop:
            send(signal.SIGINT)
            assert not stop.asked
            send(signal.SIGTERM)
            assert stop.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_part_of_a_run_confirms_in_its_own_words():
    said = []
    with asked_to_stop(lambda: said.append("outside")) as stop, stop.confirming(lambda: said.append("inside")):
        send()
    assert said == ["inside"]
    with asked_to_stop(lambda: said.append("outside")) as stop:
        with stop.confirming(lambda: said.append("inside")):
            pass
        send()
    assert said == ["inside", "outside"]


def test_signals_are_left_alone_in_other_threads():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with asked_to_stop() as stop:
            seen.append((stop.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_being_stopped_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt) as caught:
        raise Stopped(3)
    assert caught.value.done == 3


def test_a_call_is_waited_for_with_ticks():
    ticks, enough = [], threading.Event()

    def tick():
        ticks.append(threading.current_thread())
        if len(ticks) == 2:
            enough.set()

    assert attentively(lambda: enough.wait(60), tick) is True
    assert ticks == [threading.main_thread()] * 2


@pytest.mark.parametrize("error", [ValueError("wrong"), TimeoutError("late"), SystemExit(3)])
def test_what_a_call_raises_is_raised(error):
    def call():
        raise error

    with pytest.raises(type(error)) as caught:
        attentively(call)
    assert caught.value is error


def test_signals_are_heard_while_a_call_deaf_to_them_runs():
    release, said = threading.Event(), []

    def deaf():
        while not release.is_set():
            time.sleep(0.01)
        return "done"

    def once():
        if not said:
            send()

    def confirm():
        said.append("stopping")
        release.set()

    with asked_to_stop(confirm) as stop:
        assert attentively(deaf, once) == "done"
        assert stop.asked
    assert said == ["stopping"]


def test_a_second_signal_leaves_a_call_behind():
    release = threading.Event()
    try:
        with asked_to_stop(send), pytest.raises(KeyboardInterrupt):
            attentively(release.wait, send)
    finally:
        release.set()
