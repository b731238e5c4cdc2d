"""What was heard of which host lately, as far as it tells whether the network is there.

Anybody can publish names of hosts that are dead, as many as they like. So the hosts that were ever reached are
remembered apart from those that were heard of last, and nobody is pushed out there who was not reached. Names below a
domain cost its owner nothing either, nor does it to let them answer first; so a domain has one voice, which those of
its names share that are remembered (see `consumer.fetching.kin`).

No clock: the time is passed in, as monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from consumer.fetching.kin import kin_of

DOMAINS: Final = 32
"""Domains that are remembered, those heard of last: few enough to be judged for each failure, which takes 10 µs."""

NAMES: Final = 8
"""Names of each: where all hosts of a topic are of one domain, seven of eight suffice for `consumer.breaker.SHARE`."""

REMEMBERED_S: Final = 600.0
"""How long a failure is remembered unless its host is reached: in a slow topic 20 failures take minutes."""

_domain_of = lru_cache(maxsize=1024)(kin_of)


@dataclass(slots=True)
class _Place:
    heard_at: float = -math.inf
    reached_at: float = -math.inf  # never, or before an outage that is over
    failures: int = 0  # since it was reached
    code: str | None = None  # of the last one
    root: str = ""  # where it is


class Voices(NamedTuple):
    """``against`` of ``all`` domains say that the network is gone, by so many ``failures`` since it was there."""

    against: float
    all: float
    failures: int


class Places:
    """See the module's text.

    Args:
        good_for_s: how long it speaks for the network that a host was reached.
    """

    def __init__(self, good_for_s: float) -> None:
        self._good_for_s = good_for_s
        self._known = _Memory()
        self._strangers = _Memory()

    def reached(self, host: str, root: str, now: float) -> None:
        """It answered something; ``root`` is a URL of its."""
        domain = _domain_of(host)
        if domain in self._strangers:
            self._strangers.remove(domain, host)
        place = self._known.last(domain, host)
        place.heard_at = place.reached_at = now
        place.failures, place.root = 0, root

    def failed(self, host: str, code: str | None, now: float) -> None:
        """It could not be reached, for a reason that may be the network's."""
        domain = _domain_of(host)
        memory = self._known if self._known.has(domain, host) else self._strangers
        place = memory.last(domain, host)
        place.heard_at, place.code = now, code
        place.failures += 1

    def known(self, now: float) -> Voices:
        """What those say who were ever reached."""
        return self._voices((names.values() for _, names in self._known), now)

    def heard(self, now: float) -> Voices:
        """What those say who were heard of last, whoever they are."""
        domains: dict[str, list[_Place]] = {}
        for domain, names in (*self._known, *self._strangers):
            domains.setdefault(domain, []).extend(names.values())
        in_order = sorted(domains.values(), key=lambda places: max(place.heard_at for place in places))
        return self._voices(in_order[-DOMAINS:], now)

    def witnesses(self, most: int, *, failing_too: bool = False) -> dict[str, str]:
        """Hosts that were reached before, and their URLs: one of each domain, those that were reached last.

        Those that failed since come behind all others, and only if they are wanted.
        """
        ranked = []
        for _, names in self._known:
            rank = [(not one.failures, one.reached_at, host, one.root) for host, one in names.items()]
            ranked.append(max(rank))
        return {host: root for well, _, host, root in sorted(ranked, reverse=True)[:most] if well or failing_too}

    def failing(self, now: float) -> dict[str, str]:
        """The hosts that fail, and with which code each did last."""
        return {host: str(place.code) for host, place in self._all() if self._is_bad(place, now)}

    def well(self, now: float) -> int:
        """How many hosts were reached lately and have not failed since."""
        return sum(self._is_well(place, now) for _, place in self._all())

    def forgive(self) -> None:
        """Nothing of before is held against anybody, nor does it speak for those that failed."""
        self._strangers = _Memory()
        for _, names in self._known:
            for place in names.values():
                if place.failures:
                    place.failures, place.reached_at = 0, -math.inf

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _voices(self, domains: Iterable[Iterable[_Place]], now: float) -> Voices:
        against, speaking, failures = 0.0, 0, 0
        for places in domains:
            bad = well = 0
            for place in places:
                if self._is_bad(place, now):
                    bad += 1
                    failures += place.failures
                elif self._is_well(place, now):
                    well += 1
            if bad or well:
                speaking += 1
                against += bad / (bad + well)
        return Voices(against, speaking, failures)

    def _is_bad(self, place: _Place, now: float) -> bool:
        return place.failures > 0 and now - place.heard_at <= REMEMBERED_S

    def _is_well(self, place: _Place, now: float) -> bool:
        return not place.failures and now - place.reached_at <= self._good_for_s

    def _all(self) -> Iterator[tuple[str, _Place]]:
        for _, names in (*self._known, *self._strangers):
            yield from names.items()


class _Memory:
    """Hosts by their domains, of both those that were heard of last."""

    def __init__(self) -> None:
        self._domains: dict[str, dict[str, _Place]] = {}

    def last(self, domain: str, host: str) -> _Place:
        """A host that is heard of now, made if it is not here."""
        names = self._domains.pop(domain, None)  # and to the end
        if names is None:
            names = {}
        self._domains[domain] = names
        place = names[host] = names.pop(host) if host in names else _Place()
        if len(names) > NAMES:
            del names[next(iter(names))]
        if len(self._domains) > DOMAINS:
            del self._domains[next(iter(self._domains))]
        return place

    def has(self, domain: str, host: str) -> bool:
        return host in self._domains.get(domain, ())

    def remove(self, domain: str, host: str) -> None:
        names = self._domains[domain]
        names.pop(host, None)
        if not names:
            del self._domains[domain]

    def __contains__(self, domain: str) -> bool:
        return domain in self._domains

    def __iter__(self) -> Iterator[tuple[str, dict[str, _Place]]]:
        yield from self._domains.items()
