"""Who is asked next: a line for each host, in front of the threads and not inside of them.

A fetch is a few exchanges, each with one host: the image's own, a redirect's, the same again after a
pause. Between two of them it stands in the line of the host that it goes to next, or sleeps, and holds
no thread. So a host that does not answer holds as many threads as it is let, and nobody else's.
No thread and no clock in here: the time is passed in.

**Fair.** Hosts take turns, each with at most ``per_host`` exchanges at a time, and with one while it is
ailing (see `Standing`). Hosts that have not answered well yet, or no longer do, share three quarters of the
threads, however many such hosts there are: a topic full of names that lead nowhere leaves the last quarter
to hosts that answer.

**In time.** The clock of a fetch starts with its first turn: a burst for one healthy host waits, and times
out no sooner for it. In the line of a host without trust it has run since the event came, so that such a
host holds an event no longer than the deadline either; and if it is ailing the newest goes first, since the
oldest is about to time out in any case.

**Once for all.** If a fetch fails for good at a host that is down, all its attempts used up, whoever stood in
that line before its last exchange began fails with it: it found out what holds for all of them.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from consumer.errors import FetchError
from consumer.fetching.standing import Standing
from consumer.fetching.urls import Origin

T = TypeVar("T")

MOST_REMEMBERED = 4096
"""Hosts whose standing is kept while nobody wants them, about 1 kB each; the longest forgotten go first."""


@dataclass(slots=True, eq=False)
class Ticket(Generic[T]):
    """One fetch in the lines. Times are monotonic seconds. ``urgent`` ones have lines and threads of their own."""

    job: T
    arrived: float
    urgent: bool = False
    begun: float | None = None
    """When its clock started; null before its first turn."""
    since: float = 0.0
    """When it came into the line, or began the exchange that it is in."""
    doubted: bool = False
    """Whether it is on one of the threads that hosts without trust share."""
    host: _Host[T] | None = None


@dataclass(slots=True, eq=False)
class _Line(Generic[T]):
    """Who waits for one host. Who has begun goes first: what they hold up has waited longest."""

    begun: OrderedDict[Ticket[T], None] = field(default_factory=OrderedDict)
    fresh: OrderedDict[Ticket[T], None] = field(default_factory=OrderedDict)
    listed: deque[_Host[T]] | None = None
    """Where its host waits for a thread of this kind."""

    def __len__(self) -> int:
        return len(self.begun) + len(self.fresh)

    def part_of(self, ticket: Ticket[T]) -> OrderedDict[Ticket[T], None]:
        return self.fresh if ticket.begun is None else self.begun


@dataclass(slots=True, eq=False)
class _Host(Generic[T]):
    origin: Origin
    standing: Standing
    ordinary: _Line[T] = field(default_factory=_Line)
    urgent: _Line[T] = field(default_factory=_Line)
    running: int = 0
    over_at: float = math.inf
    """When somebody in line may have waited long enough."""

    def line(self, *, urgent: bool) -> _Line[T]:
        return self.urgent if urgent else self.ordinary

    def __iter__(self) -> Iterator[Ticket[T]]:
        """Everybody in its lines."""
        for line in (self.ordinary, self.urgent):
            yield from line.begun
            yield from line.fresh


class _Timer(Enum):
    WAKES = "a sleeper joins its line"
    OVER = "somebody in a host's line may have waited long enough"
    RESTED = "a host may be asked again"


class Lines(Generic[T]):
    """The lines of all hosts.

    Args:
        per_host: most exchanges with one host at a time.
        threads: how many there are for ordinary tickets.
        urgent_threads: how many there are for urgent ones.
        deadline_s: FETCH_DEADLINE_S.
    """

    def __init__(self, per_host: int, threads: int, urgent_threads: int, deadline_s: float) -> None:
        self._per_host = per_host
        self._deadline_s = deadline_s
        self._most_doubted = {False: max(1, threads * 3 // 4), True: max(1, urgent_threads * 3 // 4)}
        self._doubted = {False: 0, True: 0}
        self._trusted_first = {False: True, True: True}
        # Hosts with a line that may have a turn, by the kind of thread and by whether they are trusted.
        self._ready: dict[tuple[bool, bool], deque[_Host[T]]] = {
            (urgent, trusted): deque() for urgent in (False, True) for trusted in (False, True)
        }
        self._hosts: dict[Origin, _Host[T]] = {}
        self._unwanted: OrderedDict[Origin, None] = OrderedDict()
        self._asleep: dict[Ticket[T], Origin] = {}
        self._timers: list[tuple[float, int, _Timer, Ticket[T] | _Host[T]]] = []
        self._count = itertools.count()

    # ── what happens ─────────────────────────────────────────────────────────────────────────────

    def join(self, ticket: Ticket[T], origin: Origin, now: float, due: float = -math.inf) -> None:
        """It wants a turn with this host, not before ``due``."""
        if due > now:
            self._asleep[ticket] = origin
            self._at(due, _Timer.WAKES, ticket)
            return
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = _Host(origin, Standing(self._deadline_s))
        self._unwanted.pop(origin, None)
        ticket.host, ticket.since = host, now
        host.line(urgent=ticket.urgent).part_of(ticket)[ticket] = None
        self._watch(host, ticket)
        self._list(host, now)

    def take(self, now: float, *, urgent: bool = False) -> Ticket[T] | None:
        """Whose turn it is now, on a thread of this kind; null if nobody's. Its clock runs from now on."""
        host = self._next(now, urgent)
        if host is None:
            return None
        line = host.line(urgent=urgent)
        if line.begun:
            ticket, _ = line.begun.popitem(last=False)
        else:
            ticket, _ = line.fresh.popitem(last=host.standing.ailing)
        if ticket.begun is None:
            ticket.begun = now if host.standing.trusted else ticket.arrived
        ticket.since = now
        ticket.doubted = not host.standing.trusted
        self._doubted[urgent] += ticket.doubted
        host.running += 1
        self._list(host, now)
        return ticket

    def answered(self, ticket: Ticket[T], now: float, error: FetchError | None) -> None:
        """Its exchange is over, with this error or well."""
        host = self._of(ticket)
        standing = host.standing
        before = standing.trusted, standing.ailing
        standing.note(now, now - ticket.since, error)
        if standing.resume_at > now:
            self._at(standing.resume_at, _Timer.RESTED, host)
        if before != (standing.trusted, standing.ailing):
            for line in (host.ordinary, host.urgent):
                line.listed = None  # it belongs to another list now
                if line.fresh:
                    self._watch(host, next(iter(line.fresh)))
        self.given_back(ticket, now)

    def given_back(self, ticket: Ticket[T], now: float) -> None:
        """Its turn is over; alone, it is one that was not used."""
        host = self._of(ticket)
        host.running -= 1
        self._doubted[ticket.urgent] -= ticket.doubted
        ticket.doubted = False
        self._list(host, now)

    def shared(self, ticket: Ticket[T], now: float) -> list[Ticket[T]]:
        """This fetch failed for good, without reaching its host: who fails with it, and is in no line any more."""
        host = self._of(ticket)
        if not host.standing.down:
            return []
        return self._out(host, [one for one in host if one.since <= ticket.since], now)

    def wake(self, now: float) -> list[Ticket[T]]:
        """Lets happen what is due.

        Returns:
            Who stood in line for too long, and is in no line any more.
        """
        over = []
        while self._timers and self._timers[0][0] <= now:
            when, _, timer, one = heapq.heappop(self._timers)
            if isinstance(one, Ticket):
                self.join(one, self._asleep.pop(one), now)
            elif self._hosts.get(one.origin) is not one:
                continue  # it was forgotten meanwhile, and may be known anew
            elif timer is _Timer.RESTED:
                self._list(one, now)
            elif when == one.over_at:
                one.over_at = math.inf
                over += self._out(one, [each for each in one if self._over_at(one, each) <= now], now)
                for each in one:
                    self._watch(one, each)
        return over

    def clear(self) -> list[Ticket[T]]:
        """Everybody out: who stood in a line or slept."""
        gone = [*self._asleep, *(one for host in self._hosts.values() for one in host)]
        self._hosts.clear()
        self._unwanted.clear()
        self._asleep.clear()
        self._timers.clear()
        for ready in self._ready.values():
            ready.clear()
        return gone

    # ── what can be asked ────────────────────────────────────────────────────────────────────────

    def ready(self, *, urgent: bool) -> bool:
        """Whether a thread of this kind may find something to take."""
        free = self._doubted[urgent] < self._most_doubted[urgent]
        return bool(self._ready[urgent, True] or (free and self._ready[urgent, False]))

    def due(self, now: float) -> float:
        """Seconds until `wake` has something to do; infinite if it has not."""
        return max(0.0, self._timers[0][0] - now) if self._timers else math.inf

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _next(self, now: float, urgent: bool) -> _Host[T] | None:
        first = self._trusted_first[urgent]
        for trusted in (first, not first):
            if not trusted and self._doubted[urgent] >= self._most_doubted[urgent]:
                continue
            ready = self._ready[urgent, trusted]
            while ready:
                host = ready.popleft()
                line = host.line(urgent=urgent)
                if line.listed is not ready:
                    continue
                line.listed = None
                if self._may(host, now, urgent):
                    self._trusted_first[urgent] = not trusted
                    return host
        return None

    def _may(self, host: _Host[T], now: float, urgent: bool) -> bool:
        """Whether a line may have a turn. The last place of a host is kept for urgent ones that wait for it."""
        width = 1 if host.standing.ailing else self._per_host
        if not urgent and host.urgent:
            width -= 1
        return bool(host.line(urgent=urgent)) and host.running < width and now >= host.standing.resume_at

    def _list(self, host: _Host[T], now: float) -> None:
        """Puts the host where threads look for it, or where it may be forgotten."""
        for urgent in (False, True):
            line = host.line(urgent=urgent)
            if line.listed is None and self._may(host, now, urgent):
                line.listed = self._ready[urgent, host.standing.trusted]
                line.listed.append(host)
        if not host.running and not host.ordinary and not host.urgent:
            self._unwanted[host.origin] = None
            self._unwanted.move_to_end(host.origin)
            if len(self._unwanted) > MOST_REMEMBERED:
                longest, _ = self._unwanted.popitem(last=False)
                del self._hosts[longest]

    def _over_at(self, host: _Host[T], ticket: Ticket[T]) -> float:
        """When it has waited long enough, as things stand."""
        if ticket.begun is not None:
            return ticket.begun + self._deadline_s
        return math.inf if host.standing.trusted else ticket.arrived + self._deadline_s

    def _watch(self, host: _Host[T], ticket: Ticket[T]) -> None:
        """One timer for each host: it holds on to no ticket, and thus to no image, that is long gone."""
        when = self._over_at(host, ticket)
        if when < host.over_at:
            host.over_at = when
            self._at(when, _Timer.OVER, host)

    def _out(self, host: _Host[T], tickets: list[Ticket[T]], now: float) -> list[Ticket[T]]:
        for one in tickets:
            del host.line(urgent=one.urgent).part_of(one)[one]
        self._list(host, now)
        return tickets

    def _of(self, ticket: Ticket[T]) -> _Host[T]:
        assert ticket.host is not None
        return ticket.host

    def _at(self, when: float, timer: _Timer, one: Ticket[T] | _Host[T]) -> None:
        heapq.heappush(self._timers, (when, next(self._count), timer, one))
