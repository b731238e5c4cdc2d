"""Limits that hosts share, against a second reading of them: nobody waits while a thread is free for it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from consumer.errors import ConnectFailed, FetchError, FetchTimeout, HttpStatus
from consumer.fetching.lines import HELD_FOR_EACH, Lines
from consumer.fetching.queues import Host, Ticket
from consumer.fetching.turns import Rank

DEADLINE_S = 10.0
PER_HOST = 3
MACHINES = (*("192.0.2.1",) * 3, "192.0.2.2", "192.0.2.3")


class World:
    """Hosts, machines and tickets as the dice will have it, and everything counted once more."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.threads = {False: self.dice.choice((1, 2, 3, 4, 8, 12)), True: self.dice.choice((1, 2, 4))}
        self.lines: Lines[int] = Lines(PER_HOST, self.threads[False], self.threads[True], DEADLINE_S)
        self.hosts = [f"{name}.{domain}.example" for name in "abcd" for domain in ("one", "two", "three")]
        self.at = {host: self.dice.choice(MACHINES) for host in self.hosts}
        self.asking: list[Ticket[int]] = []
        self.decoding: list[Ticket[int]] = []
        self.came = 0

    @property
    def holding(self) -> list[Ticket[int]]:
        return self.asking + self.decoding

    def free(self, *, urgent: bool) -> int:
        return self.threads[urgent] - sum(one.urgent == urgent for one in self.holding)

    def takeable(self, *, urgent: bool) -> list[str]:
        """Who may have a turn under all limits, counted from nothing but who holds a thread."""
        return [host.origin[1] for host in self.lines._hosts if self._may(host, urgent)]

    def _may(self, host: Host[int], urgent: bool) -> bool:
        line, holding = host.line(urgent=urgent), [one for one in self.holding if one.urgent == urgent]
        asking = sum(one.host is host for one in self.asking)
        width = (1 if host.standing.ailing else PER_HOST) - bool(not urgent and host.urgent)
        most = max(1, self.threads[urgent] * 3 // 4)
        left = most - sum(one.rank != Rank.QUICK for one in holding)
        kin = Counter(one.host.kin for one in holding if one.host and one.rank == Rank.WITHOUT_TRUST)
        machines = Counter(one.machine for one in holding if one.machine is not None)
        return (
            len(line) > 0
            and asking < width
            and sum(one.host is host for one in holding) < HELD_FOR_EACH * PER_HOST
            and self.now >= host.standing.resume_at
            and (host.machine is None or machines[host.machine] < most)
            and (host.standing.quick or left > 0)
            and (host.standing.trusted or kin[host.kin] < left)
        )

    def step(self) -> None:
        action = self.dice.random()
        if action < 0.35:
            self.came += 1
            ticket = Ticket(self.came, self.now, self.dice.random() < 0.2)
            self.lines.join(ticket, ("http", self.dice.choice(self.hosts), 80), self.now)
        elif action < 0.65:
            self._answer()
        elif action < 0.8 and self.decoding:
            self.lines.given_back(self.decoding.pop(self.dice.randrange(len(self.decoding))), self.now)
        else:
            self.now += self.dice.choice((0.01, 0.1, 0.5, 3.0))
            self.lines.wake(self.now)
        self.take()

    def _answer(self) -> None:
        if not self.asking:
            return
        ticket = self.asking.pop(self.dice.randrange(len(self.asking)))
        assert ticket.host is not None
        host = ticket.host.origin
        unreached = ConnectFailed("nobody listens")
        unreached.reached = False
        error: FetchError | None = self.dice.choice(
            (None, None, None, None, HttpStatus(429, retry_after_s=2.0), FetchTimeout("slow"), unreached)
        )
        self.lines.answered(ticket, self.now, error, None if error is unreached else self.at[host[1]])
        if error is None and self.dice.random() < 0.6:
            self.decoding.append(ticket)
            return
        self.lines.given_back(ticket, self.now)
        if error is not None and self.dice.random() < 0.5:
            self.lines.join(ticket, host, self.now, due=self.now + self.dice.choice((0.0, 0.3)))

    def take(self) -> None:
        for urgent in (False, True):
            while self.free(urgent=urgent) > 0 and self.dice.random() < 0.9:
                can = self.takeable(urgent=urgent)
                assert self.lines.ready(urgent=urgent) == bool(can)
                ticket = self.lines.take(self.now, urgent=urgent)
                assert (ticket is None) == (not can)
                if ticket is None:
                    break
                assert ticket.host is not None
                assert ticket.host.origin[1] in can
                self.asking.append(ticket)


@pytest.mark.parametrize("seed", range(20))
def test_whenever_a_thread_is_free_and_anybody_may_have_it_somebody_does_and_never_another(seed: int) -> None:
    world = World(seed)
    for _ in range(400):
        world.step()
    for ticket in world.holding:
        world.lines.given_back(ticket, world.now)
    assert not any(turns._doubted or turns._of_kin or turns._of_machine for turns in world.lines._turns.values())
