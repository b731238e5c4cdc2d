"""Who is asked next: a line for each host, in front of the threads and not inside of them.

A fetch is a few exchanges, each with one host: the image's own, a redirect's, the same again after a
pause. Between two of them it stands in the line of the host that it goes to next, or sleeps, and holds
no thread. So a host that does not answer holds as many threads as it is let, and nobody else's.
No thread and no clock in here: the time is passed in.

**Fair.** A host has at most ``per_host`` exchanges at a time, and one while it is ailing (see `Standing`). What is
done with an image on the thread that fetched it, decoding above all, counts as well: a host holds twice as many threads
at most, so that one of large images does not take them all. What hosts share, and how they take turns, is in `turns`.

**In time.** The clock of a fetch starts with its first turn: a burst for one healthy host waits, and times
out no sooner for it. In the line of a host without trust it has run since the event came, so that such a
host holds an event no longer than the deadline either; and if it is ailing the newest goes first, since the
oldest is about to time out in any case. While threads wait for decoders or for the model that clock stands still (see
`jam`): where they are the bottleneck, events of new hosts had timed out in a line that nobody could serve.

**Once for all.** If a fetch fails for good at a host that is down, all its attempts used up, whoever stood in
that line before its last exchange began fails with it: it found out what holds for all of them.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable
from enum import Enum
from typing import Generic

from consumer.errors import FetchError
from consumer.fetching.company import Company
from consumer.fetching.jam import Watch
from consumer.fetching.known import Known
from consumer.fetching.queues import Host, T, Ticket
from consumer.fetching.turns import Rank, Turns
from consumer.fetching.urls import Origin

HELD_FOR_EACH = 2
"""Threads that a host may hold, in exchanges that it may have at a time: while images are decoded as fast as they
come, there is hardly one more than exchanges."""


MOST_SPARED = 3
"""Deadlines that are not counted at most, in all lines of an event together: nothing holds it longer than four."""

LOOK_S = 0.1
"""How late at most it is noticed in a jam that somebody has waited long enough."""


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
        self._turns = {False: Turns[T](threads), True: Turns[T](urgent_threads)}
        self._jams = {False: Watch(), True: Watch()}
        self._hosts: Known[T] = Known(deadline_s)
        self._asleep: dict[Ticket[T], Origin] = {}
        self._company: Company[T] = Company()
        self._timers: list[tuple[float, int, _Timer, Ticket[T] | Host[T]]] = []
        self._count = itertools.count()

    # ── what happens ─────────────────────────────────────────────────────────────────────────────

    def join(self, ticket: Ticket[T], origin: Origin, now: float, due: float = -math.inf) -> None:
        """It wants a turn with this host, not before ``due``."""
        if due > now:
            self._asleep[ticket] = origin
            self._at(due, _Timer.WAKES, ticket)
            return
        host = self._hosts.wanted(origin)
        ticket.since = now
        host.line(urgent=ticket.urgent).part_of(ticket)[ticket] = None
        ticket.free_s = self._free_s(host, ticket, now)
        if ticket.begun is None:
            self._company.add(ticket)
        self._watch(host, ticket, now)
        self._changed(host, now)

    def take(self, now: float, *, urgent: bool = False) -> Ticket[T] | None:
        """Whose turn it is now, on a thread of this kind; null if nobody's. Its clock runs from now on."""
        host = self._turns[urgent].next()
        if host is None:
            return None
        line = host.line(urgent=urgent)
        if line.begun and not (line.fresh and host.standing.turns_all_away):
            ticket, _ = line.begun.popitem(last=False)
        else:
            ticket, _ = line.fresh.popitem(last=host.standing.ailing)
            self._company.remove(ticket)
        spared_s = self._spared_s(host, ticket, now)
        if ticket.begun is None:
            ticket.begun = now if host.standing.trusted else ticket.arrived + spared_s
        else:
            ticket.begun += spared_s
        ticket.spared_s += spared_s
        ticket.since = now
        ticket.host, ticket.asking = host, True
        host.running += 1
        host.held[urgent] += 1
        self._turns[urgent].hold(ticket, host)
        self._note_jam(urgent, now)
        self._changed(host, now)
        return ticket

    def along(self, ticket: Ticket[T], now: float) -> list[Ticket[T]]:
        """Who rides along with a ticket that has just been taken for the first time, and is in no line any more."""
        host = ticket.host
        assert host is not None
        return self._out(host, self._company.of(ticket), now) if host.standing.trusted else []

    def answered(self, ticket: Ticket[T], now: float, error: FetchError | None, machine: Hashable = None) -> None:
        """Its exchange is over, with this error or well; its thread is still held.

        Args:
            ticket: whose exchange.
            now: monotonic seconds.
            error: how it ended, null if well.
            machine: who was reached; null if nobody was.
        """
        host = ticket.host
        assert host is not None
        standing = host.standing
        before = Rank.of(standing), standing.ailing
        ticket.turned_away = standing.note(now, now - ticket.since, error, again=ticket.turned_away)
        if standing.resume_at > now:
            self._at(standing.resume_at, _Timer.RESTED, host)
        if before != (Rank.of(standing), standing.ailing):
            for line in (host.ordinary, host.urgent):
                if line.fresh:
                    self._watch(host, next(iter(line.fresh)), now)
        if machine is not None:
            host.machine = machine
            self._turns[ticket.urgent].move(ticket, machine)
        ticket.asking = False
        host.running -= 1
        self._turns[ticket.urgent].answered(ticket)
        self._note_jam(ticket.urgent, now)
        self._changed(host, now)

    def given_back(self, ticket: Ticket[T], now: float) -> None:
        """Its thread is free; if it has not `answered`, the turn was not used. May be called again, for nothing."""
        host = ticket.host
        if host is None:
            return
        ticket.host = None
        host.running -= ticket.asking
        host.held[ticket.urgent] -= 1
        self._turns[ticket.urgent].release(ticket, host)
        ticket.asking = False
        self._note_jam(ticket.urgent, now)
        self._changed(host, now)

    def shared(self, ticket: Ticket[T], now: float) -> list[Ticket[T]]:
        """This fetch failed for good, without reaching its host: who fails with it, and is in no line any more."""
        host = ticket.host
        assert host is not None
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
            elif one not in self._hosts:
                continue  # it was forgotten meanwhile, and may be known anew
            elif timer is _Timer.RESTED:
                self._changed(one, now)
            elif when == one.over_at:
                one.over_at = math.inf
                over += self._out(one, [each for each in one if self._over_at(one, each, now) <= now], now)
                for each in one:
                    self._watch(one, each, now)
        return over

    def clear(self) -> list[Ticket[T]]:
        """Everybody out: who stood in a line or slept."""
        gone = [*self._asleep, *(one for host in self._hosts for one in host)]
        self._hosts.clear()
        self._asleep.clear()
        self._company.clear()
        self._timers.clear()
        for turns in self._turns.values():
            turns.clear()
        return gone

    # ── what can be asked ────────────────────────────────────────────────────────────────────────

    def ready(self, *, urgent: bool) -> bool:
        """Whether a thread of this kind that is free has something to take."""
        return self._turns[urgent].ready()

    def due(self, now: float) -> float:
        """Seconds until `wake` has something to do; infinite if it has not."""
        return max(0.0, self._timers[0][0] - now) if self._timers else math.inf

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _may(self, host: Host[T], now: float, urgent: bool) -> bool:
        """Whether a line may have a turn. The last place of a host is kept for urgent ones that wait for it."""
        width = 1 if host.standing.ailing else self._per_host
        if not urgent and host.urgent:
            width -= 1
        return (
            bool(host.line(urgent=urgent))
            and host.running < width
            and host.held[urgent] < HELD_FOR_EACH * self._per_host
            and now >= host.standing.resume_at
        )

    def _changed(self, host: Host[T], now: float) -> None:
        """Lists the host where threads look for it if it may have a turn, or where it may be forgotten."""
        waits = not host.running and not host.standing.ailing
        for urgent, turns in self._turns.items():
            host.spared[urgent].note(self._jams[urgent].seconds(now), runs=waits)
            if self._may(host, now, urgent):
                turns.add(host)
            else:
                turns.remove(host)
        if not any(host.held.values()) and not host.ordinary and not host.urgent:
            self._hosts.unwanted(host)

    def _note_jam(self, urgent: bool, now: float) -> None:
        self._jams[urgent].note(now, runs=self._turns[urgent].jammed)

    def _spared_s(self, host: Host[T], ticket: Ticket[T], now: float) -> float:
        """What it has waited in this line for our own sake, and not for a host that is being asked, or ails."""
        most = MOST_SPARED * self._deadline_s - ticket.spared_s
        return min(most, self._free_s(host, ticket, now) - ticket.free_s)

    def _free_s(self, host: Host[T], ticket: Ticket[T], now: float) -> float:
        return host.spared[ticket.urgent].seconds(self._jams[ticket.urgent].seconds(now))

    def _over_at(self, host: Host[T], ticket: Ticket[T], now: float) -> float:
        """When it has waited long enough, as things stand."""
        if ticket.begun is None and host.standing.trusted:
            return math.inf
        began = ticket.arrived if ticket.begun is None else ticket.begun
        return began + self._spared_s(host, ticket, now) + self._deadline_s

    def _watch(self, host: Host[T], ticket: Ticket[T], now: float) -> None:
        """One timer for each host: it holds on to no ticket, and thus to no image, that is long gone."""
        when = self._over_at(host, ticket, now)
        if when > now and self._jams[ticket.urgent].runs:  # it is put off again and again
            when = max(when, now + LOOK_S)
        if when < host.over_at:
            host.over_at = when
            self._at(when, _Timer.OVER, host)

    def _out(self, host: Host[T], tickets: list[Ticket[T]], now: float) -> list[Ticket[T]]:
        for one in tickets:
            del host.line(urgent=one.urgent).part_of(one)[one]
            if one.begun is None:
                self._company.remove(one)
        self._changed(host, now)
        return tickets

    def _at(self, when: float, timer: _Timer, one: Ticket[T] | Host[T]) -> None:
        heapq.heappush(self._timers, (when, next(self._count), timer, one))
