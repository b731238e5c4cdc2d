"""Being asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from consumer.signals import Starting, StopRequest


@pytest.fixture
def request_() -> Iterator[StopRequest]:
    made = StopRequest()
    yield made
    made.close()


def test_it_is_not_set_until_it_is_asked_and_stays_so(request_: StopRequest) -> None:
    assert not request_.wait(0.0)
    request_.set()
    request_.set()
    assert request_.is_set()
    assert request_.wait()
    assert request_.wait()


def test_it_wakes_every_thread_that_waits(request_: StopRequest) -> None:
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(request_.wait(10))) for _ in range(3)]
    for thread in threads:
        thread.start()
    request_.set()
    for thread in threads:
        thread.join(10)
    assert woken == [True, True, True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_also_while_the_main_thread_waits(number: signal.Signals) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    request = StopRequest.on_signals()
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
        timer.start()
        assert request.wait(10)
        timer.join()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        request.close()
        assert signal.set_wakeup_fd(-1) == -1


def test_nobody_ends_a_process_whose_start_is_over(request_: StopRequest) -> None:
    starting = Starting(request_, lambda: os.write(2, b"this ends the test run"))
    starting.over()
    request_.set()
    (watching,) = (one for one in threading.enumerate() if one.name == "stop")
    watching.join(10)
    assert not watching.is_alive()


def test_last_words_that_nobody_takes_do_not_keep_the_process() -> None:
    script = """
import threading
from consumer import signals
signals.LAST_WORDS_S = 0.1
asked = signals.StopRequest()
signals.Starting(asked, threading.Event().wait, code=7)
asked.set()
threading.Event().wait()
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=30, check=False)
    assert done.returncode == 7
