"""When the next publication may begin, and how large it may be."""

from __future__ import annotations

import math

from consumer.stream.limits import Limits

LONGEST_RETRY_PAUSE_S = 5.0
LATER = 0.1
"""By how much later than it could an outcome may come because of a pause: nobody sees 0.2 s more of an event that took
two seconds, since it waited behind others or its host is slow."""

LONG_S = 2.0
"""A publication that failed sooner than that did not fail of its size: most take some 10 ms."""


class Pace:
    """Pauses between publications: short ones that gather outcomes, longer ones after failures. Times are monotonic
    seconds.

    After one that failed and took long the next one has half as many outcomes, after each success an eighth more, up
    to the limit. What does not get through as a whole in the time that one may take (4 MB over 3 Mbit/s do not) would
    never get through otherwise.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = 0.0
        self._committed = -math.inf
        self._next = -math.inf
        self._failures = 0
        self._most = limits.publish_outcomes
        self._outcomes = 0

    @property
    def most(self) -> int:
        """Outcomes that the next publication may have."""
        return self._most

    @property
    def failing(self) -> bool:
        """Whether the last publication failed: then its pause is kept, whatever hurries."""
        return self._failures > 0

    def began(self, outcomes: int, now: float) -> None:
        """A publication of so many outcomes is under way."""
        self._began = now
        self._outcomes = outcomes

    def committed(self, now: float) -> None:
        """It is there.

        The pause is as long as what it took, up to `Limits.publish_pause_s`: for about so long the broker goes on
        ending it (its markers), and a transaction that begins meanwhile is told to try again.
        """
        self._failures = 0
        limits = self._limits
        self._most = min(limits.publish_outcomes, self._most + max(1, self._most // 8))
        pause_s = max(limits.publish_pause_each_s * self._outcomes, now - self._began)
        self._committed = now
        self._next = now + min(limits.publish_pause_s, pause_s)

    def failed(self, now: float) -> None:
        """It is not there, or nobody knows."""
        self._next = now + min(LONGEST_RETRY_PAUSE_S, self._limits.retry_pause_s * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        if now - self._began > LONG_S:
            self._most = max(1, self._outcomes // 2)

    def left_s(self, now: float) -> float:
        """Seconds until the pause is over."""
        return max(0.0, self._next - now)

    def late_s(self, arrived: float, now: float) -> float:
        """Seconds by which all outcomes may wait even longer, of which the last to come arrived then: until a tenth of
        what it has taken has passed since the last commit, or `Limits.publish_pause_late_s`."""
        if self._failures:
            return 0.0
        until = (self._committed - LATER * arrived) / (1 - LATER)  # where until - committed = LATER * (until - arrived)
        return max(0.0, min(until, self._committed + self._limits.publish_pause_late_s) - now)
