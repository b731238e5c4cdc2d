"""Whose image is decoded next. Neither threads nor a clock: `shares` has them.

A machine is *quick* if it is known and its images were quick lately. Any number of others, new ones and slow ones,
cannot keep its images waiting for theirs:

- One place is never given to others; the rest is theirs while no quick machine asks for it.
- A place that is freed goes to a quick machine, unless the others hold none: then it is their turn, every other time
  at the latest.
- Among quick machines they take turns. Among the others the one goes first that is slow for the shortest time, hence
  new ones before slow ones, and whoever took little before whoever took much.
- A new machine holds one place until its first image came to an end; any other, all but one.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from consumer.decoding.standings import Standings

T = TypeVar("T")


class Turns(Generic[T]):
    """Who holds places, and who waits for one; a ``T`` stands for one that waits.

    Args:
        places: how many there are. Of a single one, quick machines and others have every other turn.
        standings: what the machines are known for.
    """

    def __init__(self, places: int, standings: Standings) -> None:
        self._places = places
        self._most = max(1, places - 1)
        self._standings = standings
        self._held: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._others_last = False

    def ask(self, machine: Hashable, ticket: T) -> None:
        """Waits for a place from now on."""
        self._waiting.setdefault(machine, deque()).append(ticket)

    def leave(self, machine: Hashable, ticket: T) -> bool:
        """Waits no longer; false if it does not wait, since it has its place."""
        line = self._waiting.get(machine, deque())
        if ticket not in line:
            return False
        line.remove(ticket)
        if not line:
            del self._waiting[machine]
        return True

    def give_back(self, machine: Hashable) -> None:
        """A place of this machine is free."""
        self._held[machine] -= 1
        if not self._held[machine]:
            del self._held[machine]

    def next(self, now: float) -> T | None:
        """The one that has a place from now on; null if there is none, or nobody for it. To be asked until then."""
        if not self._waiting or self._held.total() >= self._places:
            return None
        may = [one for one in self._waiting if self._held[one] < (self._most if self._standings.is_known(one) else 1)]
        quick = [one for one in may if self._standings.is_quick(one, now)]
        others = [one for one in may if one not in quick]
        held = sum(count for one, count in self._held.items() if not self._standings.is_quick(one, now))
        if held >= self._most:
            others = []
        is_due = not held and not self._others_last
        if not (chosen := others if others and (is_due or not quick) else quick):
            return None
        self._others_last = chosen is others
        machine = min(chosen, key=lambda one: self._standings.slow_for_s(one, now))  # the first of those that are equal
        line = self._waiting.pop(machine)
        ticket = line.popleft()
        if line:
            self._waiting[machine] = line  # behind the others
        self._held[machine] += 1
        return ticket
