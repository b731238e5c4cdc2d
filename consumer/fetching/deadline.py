"""One point in time that everything about one image has to be done by."""

from __future__ import annotations

import time
from collections.abc import Callable

from consumer.errors import FetchTimeout


class Deadline:
    """``seconds`` from now, or from ``since``, on a monotonic clock.

    It is enforced where a thread can block, never by a watchdog: every wait for a resolver, a connect, a
    handshake, a send and a receive gets `remaining` as its timeout, anew each time. A server that sends
    one byte every now and then therefore gains nothing (requests' own timeout starts again with every
    byte), no second thread takes part, and nothing shuts down a socket whose number may by then be
    another connection's.
    """

    __slots__ = ("_at", "_clock", "_seconds")

    def __init__(
        self, seconds: float, clock: Callable[[], float] = time.monotonic, *, since: float | None = None
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._at = (clock() if since is None else since) + seconds

    def remaining(self) -> float:
        """Seconds that are left, more than 0.

        Raises:
            FetchTimeout: none are.
        """
        left = self.left()
        if left <= 0:
            raise self.passed()
        return left

    def left(self) -> float:
        """Seconds that are left; 0 or less when it has passed."""
        return self._at - self._clock()

    def spent(self) -> float:
        """Seconds since its beginning."""
        return self._seconds - self.left()

    def passed(self) -> FetchTimeout:
        """The error to raise where a wait for `remaining` ended without what it waited for."""
        return FetchTimeout(f"the image was not here after {self._seconds:g} s (FETCH_DEADLINE_S)")
