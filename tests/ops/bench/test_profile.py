"""What a profile is made of."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ops.bench.profile import by_line, spent_ms

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="reads /proc")

RAW = """\
thread (0x7F01): fetch-3;_run (fetcher.py:10);recv (wire.py:5) 2
thread (0x7F02): fetch-12;_run (fetcher.py:10);recv (wire.py:5) 3
thread (0x7F03): stream;tick (loop.py:7) 4
"""


def test_threads_of_one_kind_count_together_by_the_line_that_ran() -> None:
    assert by_line(RAW) == {("fetch", "recv (wire.py:5)"): 5, ("stream", "tick (loop.py:7)"): 4}


def test_a_threads_time_stands_under_its_name_and_a_stranger_under_the_systems() -> None:
    over = threading.Event()
    began, numbers = threading.Event(), []

    def burn() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        numbers.append(threading.get_native_id())
        began.set()
        over.wait(30)

    thread = threading.Thread(target=burn)
    thread.start()
    assert began.wait(30)
    spent = spent_ms(os.getpid(), {numbers[0]: "burner"})
    over.set()
    thread.join()
    assert spent["burner"] >= 45
    assert sum(ms for name, ms in spent.items() if name.startswith("native: ")) > 0
