"""How much time goes by for the brokers, which do not stand still when this machine does.

A host that holds a virtual machine for a while, to move it or to save it, holds its monotonic clock too; the wall clock
is set right afterwards. For the brokers a session and a transaction may have ended meanwhile, and a newer instance may
have this one's name. (After four minutes a transaction that the brokers had ended was taken for a young one, hence for
fenced by a newer instance, and the process ended.)
"""

from __future__ import annotations

import time

from consumer.stream.outbox import Clock


class BrokersTime:
    """Seconds since it was made. Between two looks, those of the clock that went on further: neither goes back by it,
    and a wall clock that is set forward looks like a pause, after which somebody asks once more than needed."""

    def __init__(self, monotonic: Clock = time.monotonic, wall: Clock = time.time) -> None:
        self._clocks = (monotonic, wall)
        self._seen = [clock() for clock in self._clocks]
        self._passed = 0.0

    def __call__(self) -> float:
        """For one thread only."""
        seen = [clock() for clock in self._clocks]
        self._passed += max(now - before for now, before in zip(seen, self._seen, strict=True))
        self._seen = seen
        return self._passed
