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
        self._idle: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def clock(self) -> float:
        """The time, as a function for those who want one."""
        return self.now

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Does something later."""
        self._number += 1
        heapq.heappush(self._entries, (self.now + delay_s, self._number, do))

    def idle(self, delay_s: float, do: Callable[[], None]) -> None:
        """The end of a wait for nothing in particular: happens late rather than turn in vain.

        A thread may always wake late. One that only looks whether there is something new is woken by
        what is new, so nothing is missed when its empty turns are left out.
        """
        due = self.now + delay_s
        if not self._entries or self._entries[0][0] > due:
            due = min(self._entries[0][0] if self._entries else due, due + LATE_S)
        self._number += 1
        heapq.heappush(self._idle, (due, self._number, do))

    def step(self) -> bool:
        """Does what comes next; false if there is nothing."""
        queue = self._entries
        if self._idle and (not queue or self._idle[0] < queue[0]):
            queue = self._idle
        if not queue:
            return False
        self.now, _, do = heapq.heappop(queue)
        do()
        return True


LATE_S = 2.0
"""How late an idle wait may end. Less than a session, so that no loop looks stuck."""
