"""When the next publication may begin."""

from __future__ import annotations

import math

from consumer.stream.limits import Limits

LONGEST_RETRY_PAUSE_S = 5.0
LATER = 0.1
"""How much later an outcome may come because of a pause: where even the quickest event takes two seconds, since it
waits behind others, nobody sees 0.2 s more."""


class Pace:
    """Pauses between publications: short ones that gather outcomes, longer ones after failures. Times are monotonic
    seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = 0.0
        self._next = -math.inf
        self._failures = 0

    @property
    def failing(self) -> bool:
        """Whether the last publication failed: then its pause is kept, whatever hurries."""
        return self._failures > 0

    def began(self, now: float) -> None:
        """A publication is under way."""
        self._began = now

    def committed(self, outcomes: int, quickest_s: float, now: float) -> None:
        """It is there, with so many outcomes, the quickest of which took so long from its arrival.

        The pause is no shorter than what it took: for about so long the broker goes on ending it (its markers), and a
        transaction that begins meanwhile is told to try again, which librdkafka does after 300 ms.
        """
        self._failures = 0
        limits = self._limits
        flood_s = max(limits.publish_pause_s, min(limits.publish_pause_late_s, LATER * quickest_s))
        pause_s = max(limits.publish_pause_each_s * outcomes, now - self._began)
        self._next = now + min(pause_s, flood_s)

    def failed(self, now: float) -> None:
        """It is not there, or nobody knows."""
        self._next = now + min(LONGEST_RETRY_PAUSE_S, self._limits.retry_pause_s * 2**self._failures)
        self._failures = min(self._failures + 1, 16)

    def left_s(self, now: float) -> float:
        """Seconds until the pause is over."""
        return max(0.0, self._next - now)
