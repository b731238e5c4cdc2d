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


class _Place(NamedTuple):  # made for each event: quicker than a frozen dataclass
    heard_at: float
    reached_at: float  # minus infinity: never, or before an outage that is over
    failures: int = 0  # since it was reached
    code: str | None = None  # of the last one


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

    def reached(self, host: str, now: float) -> None:
        """It answered something."""
        domain = _domain_of(host)
        if domain in self._strangers:
            self._strangers.remove(domain, host)
        self._known.put(domain, host, _Place(now, now))

    def failed(self, host: str, code: str | None, now: float) -> None:
        """It could not be reached, for a reason that may be the network's."""
        domain = _domain_of(host)
        known = self._known.get(domain, host)
        memory = self._strangers if known is None else self._known
        before = memory.get(domain, host) or _Place(now, -math.inf)
        memory.put(domain, host, _Place(now, before.reached_at, before.failures + 1, code))

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

    def was_reached(self, host: str) -> bool:
        """Whether it was reached before and has not failed since."""
        known = self._known.get(_domain_of(host), host)
        return known is not None and not known.failures

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
            for host, place in names.items():
                if place.failures:
                    names[host] = _Place(place.heard_at, -math.inf)

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
    """Hosts by their domains, of both those that were put last."""

    def __init__(self) -> None:
        self._domains: dict[str, dict[str, _Place]] = {}

    def put(self, domain: str, host: str, place: _Place) -> None:
        names = self._domains.pop(domain, None)  # and to the end
        if names is None:
            names = {}
        elif host in names:
            del names[host]
        names[host] = place
        self._domains[domain] = names
        if len(names) > NAMES:
            del names[next(iter(names))]
        if len(self._domains) > DOMAINS:
            del self._domains[next(iter(self._domains))]

    def get(self, domain: str, host: str) -> _Place | None:
        names = self._domains.get(domain)
        return names.get(host) if names else None

    def remove(self, domain: str, host: str) -> None:
        names = self._domains[domain]
        names.pop(host, None)
        if not names:
            del self._domains[domain]

    def __contains__(self, domain: str) -> bool:
        return domain in self._domains

    def __iter__(self) -> Iterator[tuple[str, dict[str, _Place]]]:
        yield from self._domains.items()
