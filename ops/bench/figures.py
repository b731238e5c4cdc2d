"""The arithmetic, apart from everything that measures: percentiles, costs, the limit, efficiency."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0..1) of all do not exceed (nearest rank: a value that was seen).

    Raises:
        ValueError: there are none, or ``share`` is no share.
    """
    if not values:
        raise ValueError("no values, so no percentile")
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is not between 0 and 1")
    rank = max(1, math.ceil(round(share * len(values), 9)))
    return sorted(values)[rank - 1]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from a record's timestamp until a reader of committed outcomes has its outcome."""

    p50: float
    p95: float
    p99: float
    worst: float
    events: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Of as many events as there are ``seconds``, at least one."""
        p50, p95, p99 = (1000 * percentile(seconds, share) for share in (0.50, 0.95, 0.99))
        return cls(p50, p95, p99, 1000 * max(seconds), len(seconds))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one part takes for one image when nothing else runs: ``cpu_ms`` over all threads, ``wall_ms`` elapsed."""

    cpu_ms: float
    wall_ms: float
    images: int


class TooFewError(ValueError):
    """There is no rate in what was seen."""


def limit(cores: float, cpu_ms: Iterable[float]) -> float:
    """Events a second that so many cores could do at most, if nothing cost CPU but these parts of each.

    Raises:
        ValueError: the parts cost nothing.
    """
    total = math.fsum(cpu_ms)
    if total <= 0:
        raise ValueError("parts that cost nothing have no limit")
    return 1000 * cores / total


def rate(times: Sequence[float], begin: float, end: float) -> float:
    """Events a second, by the times at which each was seen; they come in bursts, one for each transaction.

    Counts from the last burst before ``begin`` to the last before ``end``: whole bursts over the time that they
    took, where a span that cuts a burst in two would be off by as much as one holds.

    Raises:
        TooFewError: fewer than two bursts were seen, or nothing before ``begin``.
    """
    seen = sorted(times)
    before = bisect_right(seen, begin)
    until = bisect_right(seen, end)
    if not before or until == before:
        raise TooFewError(
            "too few events were seen to tell a rate: this machine is busy, or `full` must measure longer"
        )
    return (until - before) / (seen[until - 1] - seen[before - 1])
