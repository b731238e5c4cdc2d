"""Simulated time: what happens when, and nothing in between."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Agenda:
    """Things to do, by time; of the same time, the one that was entered first comes first."""

    def __init__(self) -> None:
        self.now = 1_000.0
        """Seconds; also the monotonic clock of every simulated process."""
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def clock(self) -> float:
        """The time, as a function for those who want one."""
        return self.now

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Does something later."""
        self._number += 1
        heapq.heappush(self._entries, (self.now + delay_s, self._number, do))

    def step(self) -> bool:
        """Does what comes next; false if there is nothing."""
        if not self._entries:
            return False
        self.now, _, do = heapq.heappop(self._entries)
        do()
        return True
