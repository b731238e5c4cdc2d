"""Whose turn it is on one kind of thread, and who may hold how many of them.

A host is in here while it could have a turn as far as it is concerned; what it shares with others is judged when
a thread is free. Nobody is put aside for a limit, and thus nobody can be forgotten there: if a thread is free and
anybody may have it, `ready` says so.

**Turns.** Three ranks take turns: hosts that are quick, those that are trusted and slow, and those without trust.
Within a rank machines take turns, in each of these the kin (see `kin`), and in each of these the hosts; among hosts
without trust, of most of which no machine is known, the kin come first. So whoever is passed over for a limit is passed
over with all that share it: a machine that holds three quarters has no second beside it, and kin that hold enough are
no more than there are threads. To find whose turn it is takes microseconds, whatever thousands of names wait.

**Limits.** Three quarters of the threads are the most that hosts hold together which are not quick, and the most
that one machine holds. Hosts without trust that are kin get another of these threads only as long as they hold
fewer than are left: half of them where nobody else wants any, a third each where two do, and there is always one
left for who comes next, until there are as many kin as threads. (It is how switches share their memory among ports:
Choudhury and Hahne, "Dynamic queue length thresholds", 1998.)
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from enum import IntEnum
from typing import Generic, Literal

from consumer.fetching.queues import Host, T, Ticket
from consumer.fetching.standing import Standing

JAM_PART = 4
"""An image is at a decoder for some milliseconds, so that hardly one of twelve threads is. Where decoders or the model
are the bottleneck, the first few hosts' images held, for 14 s, every thread that new hosts may have."""


class Rank(IntEnum):
    """What is known of a host."""

    QUICK = 0
    SLOW = 1
    WITHOUT_TRUST = 2

    @classmethod
    def of(cls, standing: Standing) -> Rank:
        """That of a host of this standing."""
        if standing.quick:
            return cls.QUICK
        return cls.SLOW if standing.trusted else cls.WITHOUT_TRUST


_Shared = tuple[Literal["kin", "machine"], Hashable]
"""What a host shares with others; a machine is null where none is known."""


class Turns(Generic[T]):
    """See the module's text. ``threads``: how many there are of this kind."""

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads * 3 // 4)
        self._doubted = 0
        self._answered = 0  # of these, whose image is here and waits for a decoder, or for the model
        self._of_kin: Counter[Hashable] = Counter()
        self._of_machine: Counter[Hashable] = Counter()
        self._next_rank = Rank.QUICK
        self._listed: dict[Rank, OrderedDict[_Shared, OrderedDict[_Shared, OrderedDict[Host[T], None]]]] = {
            rank: OrderedDict() for rank in Rank
        }
        self._where: dict[Host[T], tuple[Rank, _Shared, _Shared]] = {}

    # ── who could have a turn ────────────────────────────────────────────────────────────────────

    def add(self, host: Host[T]) -> None:
        """It could have a turn; it keeps its place if it has one, and nothing is known of it that was not before."""
        rank = Rank.of(host.standing)
        kin: _Shared = "kin", host.kin
        machine: _Shared = "machine", host.machine
        where = (rank, kin, machine) if rank is Rank.WITHOUT_TRUST else (rank, machine, kin)
        if self._where.get(host) == where:
            return
        self.remove(host)
        self._where[host] = where
        _, outer, inner = where
        self._listed[rank].setdefault(outer, OrderedDict()).setdefault(inner, OrderedDict())[host] = None

    def remove(self, host: Host[T]) -> None:
        """It could not, if ever it could."""
        where = self._where.pop(host, None)
        if where is None:
            return
        rank, outer, inner = where
        inners = self._listed[rank][outer]
        del inners[inner][host]
        if not inners[inner]:
            del inners[inner]
        if not inners:
            del self._listed[rank][outer]

    def clear(self) -> None:
        """Nobody could."""
        self._where.clear()
        for listed in self._listed.values():
            listed.clear()

    # ── whose it is ──────────────────────────────────────────────────────────────────────────────

    def ready(self) -> bool:
        """Whether a thread that is free finds somebody."""
        return any(self._first(rank) is not None for rank in Rank)

    def next(self) -> Host[T] | None:
        """Whose turn it is, if a thread is free; null if nobody's. It is listed no longer."""
        for count in range(len(Rank)):
            rank = Rank((self._next_rank + count) % len(Rank))
            host = self._first(rank)
            if host is not None:
                self._next_rank = Rank((rank + 1) % len(Rank))
                _, outer, inner = self._where[host]
                self._listed[rank].move_to_end(outer)
                self._listed[rank][outer].move_to_end(inner)
                self.remove(host)
                return host
        return None

    # ── who holds a thread ───────────────────────────────────────────────────────────────────────

    def hold(self, ticket: Ticket[T], host: Host[T]) -> None:
        """It holds a thread for an exchange with this host."""
        ticket.rank = Rank.of(host.standing)
        self._count(ticket, host, 1)
        self.move(ticket, host.machine)

    def answered(self, ticket: Ticket[T]) -> None:
        """Its image is here, and the thread does something with it."""
        self._answered += ticket.rank is not Rank.QUICK

    def move(self, ticket: Ticket[T], machine: Hashable) -> None:
        """The thread that it holds counts as this machine's, whoever's it was; null is nobody's."""
        before, ticket.machine = ticket.machine, machine
        if machine is not None:
            self._of_machine[machine] += 1
        if before is not None:
            self._of_machine[before] -= 1
            if not self._of_machine[before]:
                del self._of_machine[before]

    def release(self, ticket: Ticket[T], host: Host[T]) -> None:
        """It holds none any more."""
        if not ticket.asking:
            self._answered -= ticket.rank is not Rank.QUICK
        self._count(ticket, host, -1)
        self.move(ticket, None)

    @property
    def jammed(self) -> bool:
        """Whether hosts that are not quick are short of threads through no fault of theirs: a quarter of what they may
        hold has its image already."""
        return self._answered >= max(2, self._most // JAM_PART)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _first(self, rank: Rank) -> Host[T] | None:
        left = self._most - self._doubted
        if rank is not Rank.QUICK and left <= 0:
            return None
        for outer, inners in self._listed[rank].items():
            if self._has_enough(outer, rank, left):
                continue
            for inner, hosts in inners.items():
                if not self._has_enough(inner, rank, left):
                    return next(iter(hosts))
        return None

    def _has_enough(self, shared: _Shared, rank: Rank, left: int) -> bool:
        what, one = shared
        if what == "machine":
            return self._of_machine[one] >= self._most
        return rank is Rank.WITHOUT_TRUST and self._of_kin[one] >= left

    def _count(self, ticket: Ticket[T], host: Host[T], by: int) -> None:
        if ticket.rank is Rank.QUICK:
            return
        self._doubted += by
        if ticket.rank is Rank.WITHOUT_TRUST:
            self._of_kin[host.kin] += by
            if not self._of_kin[host.kin]:
                del self._of_kin[host.kin]
