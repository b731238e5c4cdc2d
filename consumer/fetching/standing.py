"""What is known of a host from the exchanges with it. No clock in here: the time is passed in."""

from __future__ import annotations

import math

from consumer.errors import FetchError, FetchTimeout, HttpStatus

AILING_AFTER = 3
"""Bad exchanges in a row: of a host that is asked all the time one is an accident, two may share a cause."""

SLOW_PART = 0.5
"""An exchange that takes more of the deadline than this is bad: a second one would not fit."""

QUICK_PART = 0.1
"""A host whose exchanges take less of the deadline, on an average in which the last counts a quarter, is quick."""

DOWN_PAUSE_S = 0.25
"""Least time between two exchanges with a host that is down."""

RETRY_AFTER_CAP_S = 5.0
"""A server that asks for more is not waited for. The fetch fails, and the host rests for so long."""


class Standing:
    """One host's.

    It is ``trusted`` from its first good answer on, unless it is ``ailing``: an exchange went badly, and there
    has been no good one for half of the deadline, or for `AILING_AFTER` exchanges. Badly means that it took
    more than half of the deadline, made no connection, or was turned away with a Retry-After. It is ``down``
    if that many in a row made no connection at all. A good answer, be it a 404, makes it well at once.
    """

    def __init__(self, deadline_s: float) -> None:
        self._slow_s = deadline_s * SLOW_PART
        self._quick_s = deadline_s * QUICK_PART
        self._takes_s: float | None = None
        self._well_at = -math.inf
        self._bad = 0
        self._unreached = 0
        self.ailing = False
        """Whether it gets one exchange at a time."""
        self.resume_at = -math.inf
        """Not to be asked before this."""

    @property
    def down(self) -> bool:
        """Whether one fetch's failure stands for all that wait."""
        return self._unreached >= AILING_AFTER

    @property
    def trusted(self) -> bool:
        """Whether waiting for it costs nobody any time."""
        return self._well_at > -math.inf and not self.ailing

    @property
    def quick(self) -> bool:
        """Whether it is trusted and holds no thread for long: it gets threads that others do not."""
        return self.trusted and self._takes_s is not None and self._takes_s < self._quick_s

    def note(self, now: float, took_s: float, error: FetchError | None) -> None:
        """An exchange with it ended so."""
        self._takes_s = took_s if self._takes_s is None else self._takes_s + (took_s - self._takes_s) / 4
        unreached = error is not None and not error.reached
        told_to_wait = isinstance(error, HttpStatus) and error.retriable and bool(error.retry_after_s)
        if told_to_wait:
            assert isinstance(error, HttpStatus)
            assert error.retry_after_s is not None
            self.resume_at = max(self.resume_at, now + min(error.retry_after_s, RETRY_AFTER_CAP_S))
        cut_short = isinstance(error, FetchTimeout)  # by a deadline of which earlier hops had used most
        if took_s > self._slow_s or told_to_wait or (unreached and error.retriable and not cut_short):  # type: ignore[union-attr]
            self._bad += 1
            self._unreached = self._unreached + 1 if unreached else 0
            self.ailing = self._bad >= AILING_AFTER or now - self._well_at > self._slow_s
            if self.down:
                self.resume_at = max(self.resume_at, now + DOWN_PAUSE_S)
        elif not (unreached or cut_short):
            self._bad = self._unreached = 0
            self._well_at = now
            self.ailing = False
