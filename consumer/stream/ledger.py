"""The ledger of one partition: work in any order, release in order.

Events enter in offset order, are finished in any order, and leave from the front only, once every
earlier one has finished. What left is published, and its offset committed, so a commit never passes
unfinished work. Pure bookkeeping: no clock, no thread, no client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from consumer.records import Outcome, Record


class Stand(Enum):
    """How far one event is."""

    QUEUED = "queued"
    IN_FLIGHT = "in flight"
    FINISHED = "finished"


@dataclass(slots=True)
class Entry:
    """One event between its arrival and the commit of its outcome. Times are monotonic seconds."""

    offset: int
    timestamp_ms: int
    arrived: float
    record: Record | None
    """Null once finished: the outcome holds all that is still needed."""
    raw: int
    """Bytes of the record's key, value and headers."""
    size: int
    """Bytes that the entry holds: of the record first; later of the outcome's messages, and of the record
    still as long as the outcome can be reduced, which may need it."""
    stand: Stand = Stand.QUEUED
    outcome: Outcome | None = None


@dataclass(slots=True)
class Ledger:
    """The events of one partition during one tenure, from the first that is not committed.

    A tenure is the time from an assignment of the partition to its revocation. Work that is finished
    in a later tenure than it was begun in is somebody else's: `StreamCore` drops it by the number.
    """

    partition: int
    tenure: int
    entries: deque[Entry] = field(default_factory=deque)
    bytes: int = 0
    """Bytes that all entries hold together."""
    queued: int = 0
    in_flight: int = 0
    committed: int | None = None
    """The offset that was committed last in this tenure; null before."""
    _by_offset: dict[int, Entry] = field(default_factory=dict)
    _last: int = -1

    def __len__(self) -> int:
        return len(self.entries)

    def accept(self, record: Record, now: float) -> Entry | None:
        """Takes an event in; null if this offset, or a later one, was taken in before.

        Offsets rise but may skip: compaction and transaction markers leave gaps.
        """
        if record.offset <= self._last:
            return None
        self._last = record.offset
        size = record.size
        entry = Entry(record.offset, record.timestamp_ms, now, record, raw=size, size=size)
        self.entries.append(entry)
        self._by_offset[record.offset] = entry
        self.bytes += size
        self.queued += 1
        return entry

    def start(self, offset: int) -> Record:
        """Marks an event as in flight and gives its record."""
        entry = self._by_offset[offset]
        if entry.stand is not Stand.QUEUED or entry.record is None:
            raise ValueError(f"offset {offset} of partition {self.partition} is {entry.stand.value}, not queued")
        entry.stand = Stand.IN_FLIGHT
        self.queued -= 1
        self.in_flight += 1
        return entry.record

    def finish(self, offset: int, outcome: Outcome) -> None:
        """Notes the outcome of an event that is in flight.

        Raises:
            ValueError: the event is unknown, not begun or finished already; nothing is changed.
        """
        entry = self._begun(offset)
        entry.stand = Stand.FINISHED
        self.in_flight -= 1
        entry.record = None
        self._replace(entry, outcome)

    def put_back(self, offset: int) -> None:
        """Marks an event that is in flight as queued again; its record is still here.

        Raises:
            ValueError: the event is not in flight; nothing is changed.
        """
        self._begun(offset).stand = Stand.QUEUED
        self.in_flight -= 1
        self.queued += 1

    def reduce(self, offset: int) -> bool:
        """Puts an outcome's reduced form in its place; false if there is none."""
        entry = self._by_offset[offset]
        if entry.outcome is None or entry.outcome.reduced is None:
            return False
        self._replace(entry, entry.outcome.reduced())
        return True

    def told_sizes(self, offset: int) -> str:
        """What an outcome's messages take, and in which topics."""
        outcome = self._by_offset[offset].outcome
        return ", ".join(f"{one.size} bytes for {one.topic}" for one in outcome.messages) if outcome else "nothing"

    def front(self) -> Iterator[Entry]:
        """The contiguous run of finished events from the start: what may be released now."""
        for entry in self.entries:
            if entry.stand is not Stand.FINISHED:
                return
            yield entry

    def release(self, next_offset: int) -> list[Entry]:
        """Lets go of the front before ``next_offset``, the offset that was committed.

        Raises:
            ValueError: something before it is not finished; nothing is changed.
        """
        leaving = 0
        for entry in self.entries:
            if entry.offset >= next_offset:
                break
            if entry.stand is not Stand.FINISHED:
                raise ValueError(
                    f"offset {entry.offset} of partition {self.partition} is {entry.stand.value}: "
                    f"{next_offset} must not be committed"
                )
            leaving += 1
        gone = [self.entries.popleft() for _ in range(leaving)]
        for entry in gone:
            del self._by_offset[entry.offset]
            self.bytes -= entry.size
        self.committed = next_offset
        return gone

    @property
    def next_offset(self) -> int | None:
        """The first offset that is not committed; null while nothing is held."""
        return self.entries[0].offset if self.entries else None

    def holder(self) -> Entry | None:
        """The event that holds the partition up: the first that is not finished; if all are, the first."""
        return next((entry for entry in self.entries if entry.stand is not Stand.FINISHED), None) or (
            self.entries[0] if self.entries else None
        )

    def _begun(self, offset: int) -> Entry:
        entry = self._by_offset.get(offset)
        if entry is None or entry.stand is not Stand.IN_FLIGHT:
            stand = "unknown" if entry is None else entry.stand.value
            raise ValueError(f"offset {offset} of partition {self.partition} is {stand}, not in flight")
        return entry

    def _replace(self, entry: Entry, outcome: Outcome) -> None:
        size = outcome.size + (entry.raw if outcome.reduced else 0)
        self.bytes += size - entry.size
        entry.outcome, entry.size = outcome, size
