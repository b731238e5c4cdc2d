"""Events that wait for the same URL at the same time: one fetch answers them all.

Not the usual single flight, where a caller joins a request that is under way: an image may be replaced and
an event published about it while the old one is still coming, and that event must not be told of the old
one. So a fetch is shared only by those who came before its first request was sent. They wait in the line
of their host, each a ticket of its own, which can be cancelled, can time out and fails with its host like
any other. When one of them has its turn, whoever waits for the same URL rides along: their turn comes sooner
than it would have, never later.

What comes of the ride is what each would have met alone, a failure no less than an image:

* Only where the host is trusted. There every clock starts with the first exchange, so that all who ride have
  the same deadline and the same attempts before them. At a host that is new, slow or down the clock runs
  from an event's arrival, and each asks for itself.
* An urgent ticket never rides with an ordinary one, whose second attempt would wait for an ordinary thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from consumer.fetching.queues import Ticket

T = TypeVar("T")


class Company(Generic[T]):
    """Who waits for its first turn, by what it wants: the canonical URL, which stays in memory and only as long.

    Costs a microsecond for each ticket. Not thread-safe: it belongs to the lines.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Ticket[T], None]] = {}  # in the order in which they came

    def add(self, ticket: Ticket[T]) -> None:
        """It waits; one that wants nothing that may be shared is not noted."""
        if ticket.wants is not None:
            self._waiting.setdefault(ticket.wants, {})[ticket] = None

    def remove(self, ticket: Ticket[T]) -> None:
        """It waits no longer, for whatever reason."""
        if ticket.wants is not None:
            same = self._waiting[ticket.wants]
            del same[ticket]
            if not same:
                del self._waiting[ticket.wants]

    def of(self, ticket: Ticket[T]) -> list[Ticket[T]]:
        """Who may ride along with it; all of them are still noted as waiting."""
        if ticket.wants is None:
            return []
        return [one for one in self._waiting.get(ticket.wants, ()) if ticket.urgent or not one.urgent]

    def clear(self) -> None:
        """Nobody waits."""
        self._waiting.clear()
