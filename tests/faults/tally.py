"""What came of a run, in numbers. Pure counting: no broker, no clock."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it stands in the input topic. ``at`` is when the broker had it, monotonic seconds."""

    number: int
    key: bytes
    partition: int
    offset: int
    readable: bool
    at: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A record that a reader was given: an outcome, or a dead letter.

    Attributes:
        number: of the event that it is about.
        place: where it stands.
        produced_ms: when the service handed it to its producer, milliseconds since the epoch.
        arrived: when the reader had it, monotonic seconds.
        failed: it is an outcome, and one that failed: it must have a dead letter.
        wrong: what it says is not what its event's picture says.
    """

    number: int
    place: Place
    produced_ms: int
    arrived: float
    failed: bool = False
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """The group's committed offsets, partition → offset, as the broker held them at a time or earlier."""

    at_ms: float
    offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """The row of the table. All but ``silence_s`` should be 0 under exactly-once.

    Attributes:
        lost: events without an outcome; failed or unreadable ones without a dead letter.
        doubled: outcomes and dead letters beyond the first of their event, or that an event must not have.
        reordered: outcomes that come after a later one of the same key.
        aborted_visible: records that were aborted on purpose and seen all the same, and records that the
            concurrent reader saw and a reader at the end does not.
        committed_too_far: events before a committed offset whose outcome was produced after the offset was
            seen, or never.
        wrong: outcomes that speak of another event or another picture.
        silence_s: longest time that a partition had events waiting and gave no outcome, the time before its
            first one apart.
    """

    lost: int
    doubled: int
    reordered: int
    aborted_visible: int
    committed_too_far: int
    wrong: int
    silence_s: float

    def bad(self, *, may_double: bool = False) -> dict[str, int]:
        """What is not 0 and should be."""
        allowed = {"silence_s", *(["doubled"] if may_double else [])}
        counts = {one.name: int(getattr(self, one.name)) for one in fields(self) if one.name not in allowed}
        return {name: count for name, count in counts.items() if count}


def count(
    events: Sequence[Event],
    outcomes: Sequence[Seen],
    letters: Sequence[Seen],
    *,
    live: Sequence[Seen] = (),
    samples: Iterable[Sample] = (),
    aborted: Collection[Place] = (),
) -> Counts:
    """Counts one run.

    Args:
        events: all that was published.
        outcomes: all that a ``read_committed`` reader finds in the output topic at the end.
        letters: the same for the dead letters.
        live: what the concurrent readers saw, of both topics.
        samples: the group's committed offsets during the run.
        aborted: where records stand that were aborted on purpose.
    """
    once = Counter(one.number for one in outcomes)
    dead = Counter(one.number for one in letters)
    failed = {one.number for one in outcomes if one.failed}
    lost = sum(event.readable and not once[event.number] for event in events)
    lost += sum((not event.readable or event.number in failed) and not dead[event.number] for event in events)
    doubled = sum(number - 1 for number in (*once.values(), *dead.values()))
    readable = {event.number for event in events if event.readable}
    doubled += sum(number in readable and number not in failed for number in dead)
    doubled += sum(number not in readable for number in once)
    at_the_end = {one.place for one in (*outcomes, *letters)}
    seen = {one.place for one in live}
    return Counts(
        lost=lost,
        doubled=doubled,
        reordered=_reordered(events, outcomes),
        aborted_visible=len(set(aborted) & (at_the_end | seen)) + len(seen - at_the_end),
        committed_too_far=_too_far(events, (*outcomes, *letters), samples),
        wrong=sum(one.wrong for one in outcomes),
        silence_s=max(silences(events, live).values(), default=0.0),
    )


def evidence(events: Iterable[Event], outcomes: Iterable[Seen], letters: Iterable[Seen], most: int = 20) -> list[str]:
    """A line for each of the first events that were lost or doubled: where it stood, and when what came of it."""
    by_number: dict[int, list[Seen]] = defaultdict(list)
    for one in (*outcomes, *letters):
        by_number[one.number].append(one)
    lines = []
    for event in events:
        found = by_number[event.number]
        topics = [one.place[0] for one in found]
        if found and len(topics) == len(set(topics)):
            continue
        told = ", ".join(
            f"{topic}-{partition}@{offset} made at {one.produced_ms / 1000:.3f}"
            for one in found
            for topic, partition, offset in [one.place]
        )
        lines.append(f"event {event.number} at {event.partition}@{event.offset}: {told or 'nothing'}")
    return lines[:most]


def silences(
    events: Iterable[Event], live: Iterable[Seen], during: tuple[float, float] = (-math.inf, math.inf)
) -> dict[int, float]:
    """Input partition → the longest time, in seconds, that it had a readable event waiting and gave no outcome.

    Only what falls into ``during`` (monotonic seconds), at least in part, counts; and never the time before a
    partition's first outcome, since the instances begin in it.
    """
    arrived: dict[int, float] = {}
    for one in live:
        arrived[one.number] = min(one.arrived, arrived.get(one.number, one.arrived))
    ends: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if event.readable and event.number in arrived:
            ends[event.partition].append((arrived[event.number], event.at))
    longest = {}
    for partition, of in ends.items():
        gaps = [(max(before, at), now) for (before, _), (now, at) in pairwise(sorted(of))]
        inside = [end - start for start, end in gaps if start < during[1] and end > during[0]]
        longest[partition] = max(inside, default=0.0)
    return longest


def _reordered(events: Iterable[Event], outcomes: Iterable[Seen]) -> int:
    """First outcomes that come after that of a later event of their key. ``outcomes`` are in log order by partition."""
    by_number = {event.number: event for event in events}
    last: dict[bytes, int] = {}
    counted: set[int] = set()
    found = 0
    for one in sorted(outcomes, key=lambda one: one.place):
        event = by_number.get(one.number)
        if event is None or one.number in counted:
            continue
        counted.add(one.number)
        found += event.offset < last.get(event.key, -1)
        last[event.key] = max(event.offset, last.get(event.key, -1))
    return found


def _too_far(events: Iterable[Event], seen: Iterable[Seen], samples: Iterable[Sample]) -> int:
    produced: dict[int, int] = {}
    for one in seen:
        produced[one.number] = min(one.produced_ms, produced.get(one.number, one.produced_ms))
    by_partition: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        by_partition[event.partition].append(event)
    earliest: dict[int, dict[int, float]] = defaultdict(dict)  # partition → offset → when it was first seen committed
    for sample in samples:
        for partition, offset in sample.offsets.items():
            earliest[partition].setdefault(offset, sample.at_ms)
    found = 0
    for partition, of in by_partition.items():
        commits = sorted(earliest[partition].items(), reverse=True)
        first = float("inf")  # when an offset past the event was first seen committed
        for event in sorted(of, key=lambda event: event.offset, reverse=True):
            while commits and commits[0][0] > event.offset:
                first = min(first, commits.pop(0)[1])
            found += produced.get(event.number, float("inf")) > first if first < float("inf") else 0
    return found
