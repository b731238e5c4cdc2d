"""A process that was stopped knows it, whoever wakes first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from consumer.standstill import BEAT_S, STOOD_STILL_S, Standstill
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_beats_that_come_a_little_late_are_none(clock: Clock) -> None:
    standstill = Standstill(clock)
    for _ in range(10):
        clock.now += STOOD_STILL_S - 0.1
        standstill.beat()
    assert standstill.seconds() == 0.0


def test_it_is_known_before_the_thread_has_woken_and_after_and_told_once(clock: Clock) -> None:
    standstill = Standstill(clock)
    clock.now += 7.0
    assert standstill.seconds() == 7.0
    assert standstill.seconds() == 0.0
    clock.now += 5.0
    standstill.beat()
    clock.now += 0.1
    assert standstill.seconds() == 5.0
    assert standstill.seconds() == 0.0


def test_a_thread_keeps_the_beat_while_nobody_asks_and_ends_with_the_block() -> None:
    with Standstill() as standstill:
        assert not threading.Event().wait(STOOD_STILL_S + 2 * BEAT_S)
        assert standstill.seconds() == 0.0
        (thread,) = (one for one in threading.enumerate() if one.name == "standstill")
    thread.join(10)
    assert not thread.is_alive()


SLEEPER = """
import sys
from consumer.standstill import Standstill
with Standstill() as standstill:
    print("ready", flush=True)
    sys.stdin.readline()
    print(standstill.seconds(), flush=True)
"""


def test_a_stopped_process_says_for_how_long() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", SLEEPER], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        threading.Event().wait(STOOD_STILL_S + 1)  # the length of the standstill, which nothing else ends
        os.kill(process.pid, signal.SIGCONT)
        told, _ = process.communicate("\n", timeout=20)
    assert STOOD_STILL_S < float(told) < 60
