"""Who stands in the lines of `Lines`: fetches, and the hosts that they go to."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from consumer.fetching.jam import Watch
from consumer.fetching.kin import kin_of
from consumer.fetching.standing import Standing
from consumer.fetching.urls import Origin

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Ticket(Generic[T]):
    """One fetch in the lines. Times are monotonic seconds. ``urgent`` ones have lines and threads of their own."""

    job: T
    arrived: float
    urgent: bool = False
    free_s: float = 0.0
    """What `Host.spared` said when it came into the line."""
    spared_s: float = 0.0
    """What is not held against it, of the lines that it stood in before."""
    begun: float | None = None
    """When its clock started; null before its first turn."""
    since: float = 0.0
    """When it came into the line, or began the exchange that it is in."""
    rank: int = 0
    """What was known of its host when it had its turn, see `turns.Rank`."""
    asking: bool = False
    """Whether its exchange is under way; if not, the thread does something with the answer."""
    wants: str | None = None
    """What it is after: who is after the same may ride along with it, see `company`. Null shares with nobody."""
    turned_away: bool = False
    """Whether it was told to wait (Retry-After)."""
    host: Host[T] | None = None
    """Whose turn it has; null while it holds no thread."""
    machine: Hashable = None
    """On whose threads it counts; null if it is not known yet where its host is."""


@dataclass(slots=True, eq=False)
class Line(Generic[T]):
    """Who waits for one host. Who has begun goes first: what they hold up has waited longest."""

    begun: OrderedDict[Ticket[T], None] = field(default_factory=OrderedDict)
    fresh: OrderedDict[Ticket[T], None] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self.begun) + len(self.fresh)

    def part_of(self, ticket: Ticket[T]) -> OrderedDict[Ticket[T], None]:
        """Where it stands."""
        return self.fresh if ticket.begun is None else self.begun


@dataclass(slots=True, eq=False)
class Host(Generic[T]):
    """Scheme, name and port, and who wants something from there."""

    origin: Origin
    standing: Standing
    ordinary: Line[T] = field(default_factory=Line)
    urgent: Line[T] = field(default_factory=Line)
    running: int = 0
    """Exchanges under way."""
    held: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    """Threads that its exchanges hold, or what is done with their answers; those of urgent ones apart."""
    spared: dict[bool, Watch] = field(default_factory=lambda: {False: Watch(), True: Watch()})
    """What is not held against those in its lines, see `jam`."""
    over_at: float = math.inf
    """When somebody in line may have waited long enough."""
    machine: Hashable = None
    """Where it was when it was reached last, however many names lead there; null if it never was."""
    kin: str = field(init=False)
    """Which hosts it belongs to by its name."""

    def __post_init__(self) -> None:
        self.kin = kin_of(self.origin[1])

    def line(self, *, urgent: bool) -> Line[T]:
        """Its line of this kind."""
        return self.urgent if urgent else self.ordinary

    def __iter__(self) -> Iterator[Ticket[T]]:
        """Everybody in its lines."""
        for line in (self.ordinary, self.urgent):
            yield from line.begun
            yield from line.fresh
