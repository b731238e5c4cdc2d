"""What is known of a host from the exchanges with it. No clock in here: the time is passed in."""

from __future__ import annotations

import math

from consumer.errors import FetchError, FetchTimeout, HttpStatus
from consumer.fetching.wishes import Wishes

AILING_AFTER = 3
"""Bad exchanges in a row: of a host that is asked all the time one is an accident, two may share a cause."""

SLOW_PART = 0.5
"""An exchange that takes more of the deadline than this is bad: a second one would not fit."""

QUICK_PART = 0.1
"""A host whose exchanges take less of the deadline, on an average in which the last counts a quarter, is quick."""

DOWN_PAUSE_S = 0.25
"""Least time between two exchanges with a host that is down."""


class Standing:
    """One host's.

    It is ``trusted`` from its first good answer on, unless it is ``ailing``: an exchange went badly, and there
    has been no good one for half of the deadline, or for `AILING_AFTER` exchanges. Badly means that it took
    more than half of the deadline, made no connection, or was turned away with a Retry-After. The last alone costs
    no trust as long as others are answered well: a host that limits the rate serves its whole line in the end.
    It is ``down`` if that many in a row made no connection at all. A good answer, be it a 404, makes it well at once.
    """

    def __init__(self, deadline_s: float) -> None:
        self._slow_s = deadline_s * SLOW_PART
        self._quick_s = deadline_s * QUICK_PART
        self._takes_s: float | None = None
        self._well_at = -math.inf
        self._bad = 0
        self._unreached = 0
        self._pause_until = -math.inf
        self._wishes = Wishes(deadline_s)
        self._distrusted = False
        self.ailing = False
        """Whether it gets one exchange at a time."""

    @property
    def resume_at(self) -> float:
        """Not to be asked before this."""
        return max(self._pause_until, self._wishes.resume_at)

    @property
    def turns_all_away(self) -> bool:
        """Whether who has not been turned away yet should ask first, to see whether it still does."""
        return self._wishes.all_turned_away

    @property
    def down(self) -> bool:
        """Whether one fetch's failure stands for all that wait."""
        return self._unreached >= AILING_AFTER

    @property
    def has_answered_well(self) -> bool:
        """Whether it ever has."""
        return self._well_at > -math.inf

    @property
    def trusted(self) -> bool:
        """Whether waiting for it costs nobody any time."""
        return self.has_answered_well and not self._distrusted

    @property
    def quick(self) -> bool:
        """Whether it is trusted and holds no thread for long: it gets threads that others do not."""
        return self.trusted and self._takes_s is not None and self._takes_s < self._quick_s

    def note(self, now: float, took_s: float, error: FetchError | None, *, again: bool = False) -> bool:
        """An exchange with it ended so.

        Args:
            now: monotonic seconds.
            took_s: what it took.
            error: null if it went well.
            again: whether that fetch had been turned away the last time.

        Returns:
            Whether it is turned away now.
        """
        self._takes_s = took_s if self._takes_s is None else self._takes_s + (took_s - self._takes_s) / 4
        unreached = error is not None and not error.reached
        wish_s = error.retry_after_s if isinstance(error, HttpStatus) and error.retriable else None
        if wish_s:
            self._wishes.turned_away(now, wish_s, again=again)
        cut_short = isinstance(error, FetchTimeout)  # by a deadline of which earlier hops had used most
        if took_s > self._slow_s or wish_s or (unreached and error.retriable and not cut_short):  # type: ignore[union-attr] # unreached means that there is an error
            self._bad += 1
            self._unreached = self._unreached + 1 if unreached else 0
            silent = now - self._well_at > self._slow_s
            self.ailing = self._bad >= AILING_AFTER or silent
            self._distrusted = silent if wish_s else self.ailing
            if self.down:
                self._pause_until = now + DOWN_PAUSE_S
        elif not (unreached or cut_short):
            self._bad = self._unreached = 0
            self._well_at = now
            self._wishes.answered_well(now, again=again)
            self.ailing = self._distrusted = False
        return bool(wish_s)
