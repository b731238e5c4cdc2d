"""Whether this process was away so long that a newer one may have its name, and it has not been told yet.

A new producer fences whoever has the same name. A process that was frozen comes back in the middle of a call, and its
producer is gone by the end of that call; another one in the same turn would come before any poll could tell that the
group has given this member's place to a newer instance. It fenced the newer one, was told a moment later, and both
ended (frozen for 13 s between offsets and commit: the older after 0.7 s, the newer after 1.3).

So whoever comes back asks first, and so does one whose offsets the group refuses since it knows another member of
this name. No producer is made until the group's coordinator has answered this consumer again, and one more poll has
passed, which raises what came in before. The question goes out `OVERDUE_S` after the return: by then a heartbeat is
overdue, and has gone out before it over the same connection.

Under ``group.protocol=consumer`` the group knows nothing of the name, so that it cannot tell; see docs/delivery.md.
"""

from __future__ import annotations

from typing import Final

from consumer.stream.outbox import Clock
from consumer.stream.source import Source

AWAY_S: Final = 3.5
"""Whoever has not come by for longer may have been frozen, or cut off, and a third of a session is over. A turn takes
some milliseconds, and seconds where brokers are slow: that makes it ask, and costs some more than `OVERDUE_S`."""

OVERDUE_S: Final = 1.0
"""When a heartbeat has gone out for sure: they are due every 0.3 s, and librdkafka's main thread wakes every 0.5 s."""

ASK_S: Final = 2.0
"""How long an answer is waited for: some milliseconds as a rule, and nothing is polled meanwhile."""


class Absence:
    """Belongs to the stream's thread; times are seconds of `BrokersTime`.

    Args:
        named: whether another process may have this one's name; if not, nothing is ever in doubt.
    """

    def __init__(self, source: Source, clock: Clock, *, named: bool) -> None:
        self._source = source
        self._clock = clock
        self._named = named
        self._seen: float | None = None  # before it has started there is nothing that a newer one could have taken
        self._ask_at = 0.0
        self._answered = False
        self.doubtful = False
        """Whether a newer instance may be there; then no producer is to be made."""

    def begin(self) -> None:
        """It has started: whatever took its time until now, nobody was there to be replaced."""
        self._seen = self._clock()

    def note(self) -> bool:
        """Called whenever this process comes by; a call of its own that took long counts as well.

        Returns:
            ``doubtful``.
        """
        if self._seen is not None:
            before, self._seen = self._seen, self._clock()
            if self._seen - before > AWAY_S:
                self.doubt()
        return self.doubtful

    def doubt(self) -> None:
        """There is a reason to: it was away for long, or the group knows another member of its name."""
        if self._named:
            self.doubtful, self._answered, self._ask_at = True, False, self._clock() + OVERDUE_S

    def polled(self) -> None:
        """Called every turn, after a poll that has raised nothing."""
        self.note()
        if self._answered:
            self.doubtful = self._answered = False
        elif self.doubtful and (began := self._clock()) >= self._ask_at:
            self._answered = self._source.is_answered(ASK_S)
            self._ask_at = self._clock() + OVERDUE_S
            if self._clock() - began < AWAY_S:  # the wait was for the answer
                self._seen = self._clock()
