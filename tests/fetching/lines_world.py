"""Lines of hosts, in a time that a test makes up."""

from __future__ import annotations

from consumer.errors import ConnectFailed, FetchError
from consumer.fetching.lines import Lines
from consumer.fetching.queues import Ticket
from consumer.fetching.standing import AILING_AFTER
from consumer.fetching.urls import Origin

DEADLINE_S = 10.0


def host(name: str = "a") -> Origin:
    return "http", name, 80


def refused() -> FetchError:
    error = ConnectFailed("nobody listens")
    error.reached = False
    return error


class World:
    """Lines, and a clock; jobs are numbers."""

    def __init__(self, per_host: int = 2, threads: int = 4) -> None:
        self.lines: Lines[int] = Lines(per_host, threads, 2, DEADLINE_S)
        self.now = 100.0

    def arrive(self, *jobs: int, name: str = "a", urgent: bool = False) -> list[Ticket[int]]:
        tickets = [Ticket(job, self.now, urgent) for job in jobs]
        for ticket in tickets:
            self.lines.join(ticket, host(name), self.now)
        return tickets

    def take(self, *, urgent: bool = False) -> list[Ticket[int]]:
        """Everybody who has a turn now."""
        taken = []
        while (ticket := self.lines.take(self.now, urgent=urgent)) is not None:
            taken.append(ticket)
        return taken

    def jobs(self, *, urgent: bool = False) -> list[int]:
        return [ticket.job for ticket in self.take(urgent=urgent)]

    def answer(self, ticket: Ticket[int], error: FetchError | None = None, after_s: float = 0.0) -> None:
        self.now += after_s
        self.lines.answered(ticket, self.now, error)
        self.lines.given_back(ticket, self.now)

    def lost(self, ticket: Ticket[int], after_s: float = 0.0) -> set[int]:
        """Its host refuses, and that was its last attempt: who fails with it."""
        self.now += after_s
        self.lines.answered(ticket, self.now, refused())
        others = {one.job for one in self.lines.shared(ticket, self.now)}
        self.lines.given_back(ticket, self.now)
        return others

    def spoil(self, name: str = "a", error: FetchError | None = None, after_s: float = 0.0) -> None:
        """Lets a host go bad: as many exchanges as it takes, one after the other."""
        for _ in range(AILING_AFTER):
            self.arrive(-1, name=name)
            ticket = self.lines.take(self.now)
            assert ticket is not None
            self.answer(ticket, error or refused(), after_s)

    def wake(self) -> list[int]:
        return [ticket.job for ticket in self.lines.wake(self.now)]
