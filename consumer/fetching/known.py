"""The hosts that somebody wants, and for a while those that nobody wants any more, with what is known of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic

from consumer.fetching.queues import Host, T
from consumer.fetching.standing import Standing
from consumer.fetching.urls import Origin

MOST_REMEMBERED = 4096
"""Hosts that have answered well whose standing is kept while nobody wants them, about 1 kB each; those go first that
nobody has wanted for longest."""

MOST_STRANGERS = 1024
"""The same of those that never have, apart, so that a flood of made-up names makes nobody forget the others."""


class Known(Generic[T]):
    """``deadline_s`` is FETCH_DEADLINE_S."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._hosts: dict[Origin, Host[T]] = {}
        self._unwanted: dict[bool, OrderedDict[Origin, None]] = {True: OrderedDict(), False: OrderedDict()}

    def wanted(self, origin: Origin) -> Host[T]:
        """The host of this origin, remembered or made; it stays until it is `unwanted`."""
        for unwanted in self._unwanted.values():
            unwanted.pop(origin, None)
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = Host(origin, Standing(self._deadline_s))
        return host

    def unwanted(self, host: Host[T]) -> None:
        """Nobody wants it for now: it may be forgotten."""
        good = host.standing.has_answered_well
        remembered = self._unwanted[good]
        remembered[host.origin] = None
        remembered.move_to_end(host.origin)
        if len(remembered) > (MOST_REMEMBERED if good else MOST_STRANGERS):
            longest, _ = remembered.popitem(last=False)
            del self._hosts[longest]

    def clear(self) -> None:
        """Forgets all of them."""
        self._hosts.clear()
        for unwanted in self._unwanted.values():
            unwanted.clear()

    def __contains__(self, host: Host[T]) -> bool:
        return self._hosts.get(host.origin) is host

    def __iter__(self) -> Iterator[Host[T]]:
        return iter(self._hosts.values())

    def __len__(self) -> int:
        return len(self._hosts)
