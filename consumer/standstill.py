"""Whether this process stood still: stopped by a signal (SIGSTOP, a debugger, a container that is paused), or with its
machine.

Then all deadlines pass at once, and whoever looks at the time first takes healthy hosts for dead ones. A thread that
does nothing but wake knows better: it did not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Self

BEAT_S: Final = 0.5
STOOD_STILL_S: Final = 2.0
"""So long without a beat is no load any more. Shorter ones take a deadline's last moments, and nothing else."""


class Standstill:
    """A context manager around the thread that wakes. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._beat_at = clock()
        self._stood_s = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, name="standstill", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def beat(self) -> None:
        """The process runs."""
        with self._lock:
            self._note()

    def seconds(self) -> float:
        """For how long it stood still since this was asked last; 0 if it did not."""
        with self._lock:
            self._note()  # whoever asks may have woken before the thread
            stood_s, self._stood_s = self._stood_s, 0.0
            return stood_s

    def _note(self) -> None:
        now = self._clock()
        if now - self._beat_at > STOOD_STILL_S:
            self._stood_s += now - self._beat_at
        self._beat_at = now

    def _run(self) -> None:
        while not self._over.wait(BEAT_S):
            self.beat()
