"""One partition as a broker keeps it: records and markers, and what a ``read_committed`` reader sees."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError

from tests.simulation.answers import Refused


@dataclass(slots=True)
class Entry:
    """One offset of a partition: a record, or the marker that ends a transaction here."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    producer: int | None = None
    """The producer's id if it is transactional or idempotent."""
    label: object = None
    """Whatever the writer says of itself; no broker would keep it, the oracle asks for it."""
    marker: bool = False
    aborted: bool = False
    headers: tuple[tuple[str, bytes], ...] = ()


class PartitionLog:
    """Append only. Producers are fenced by epoch, resent batches are known by their sequence numbers."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._opened: dict[int, int] = {}  # producer → first offset of its open transaction
        self._epochs: dict[int, int] = {}
        self._next: dict[tuple[int, int], int] = {}  # (producer, epoch) → the sequence number that is next

    @property
    def end(self) -> int:
        """The offset that the next record gets."""
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """Where ``read_committed`` readers stop: the first offset of the oldest open transaction (the LSO)."""
        return min(self._opened.values()) if self._opened else len(self.entries)

    @property
    def open_producers(self) -> set[int]:
        """Whose transactions are open here."""
        return set(self._opened)

    def open_entries(self, producer: int) -> list[Entry]:
        """What a producer's open transaction has here."""
        first = self._opened.get(producer, len(self.entries))
        return [entry for entry in self.entries[first:] if entry.producer == producer and not entry.marker]

    def append(self, entry: Entry) -> int:
        """Appends outside of any transaction, and gives the offset."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def append_of(self, entry: Entry, producer: int, epoch: int, sequence: int, *, transactional: bool) -> bool:
        """Appends a record of an idempotent producer.

        Returns:
            False if it was there already: a request that was sent twice.

        Raises:
            Refused: an older epoch, or a sequence number that is not next.
        """
        if epoch < self._epochs.get(producer, epoch):
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        self._epochs[producer] = epoch
        expected = self._next.get((producer, epoch), 0)
        if sequence != expected:
            if sequence < expected:
                return False
            raise Refused(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
        self._next[producer, epoch] = expected + 1
        entry.producer = producer
        if transactional:
            self._opened.setdefault(producer, len(self.entries))
        self.entries.append(entry)
        return True

    def mark(self, producer: int, epoch: int, *, commit: bool) -> None:
        """Ends a producer's transaction here; the marker takes an offset and raises the epoch."""
        self._epochs[producer] = max(epoch, self._epochs.get(producer, epoch))
        first = self._opened.pop(producer, len(self.entries))
        if not commit:
            for entry in self.entries[first:]:
                if entry.producer == producer:
                    entry.aborted = True
        self.entries.append(Entry(None, None, -1, producer, marker=True))

    def next_visible(self, position: int) -> int | None:
        """The first offset from ``position`` on that holds a committed record; null if there is none yet."""
        entries, end = self.entries, self.stable_end
        while position < end:
            entry = entries[position]
            if not (entry.marker or entry.aborted):
                return position
            position += 1
        return None

    def visible(self) -> list[tuple[int, Entry]]:
        """Every committed record with its offset."""
        return [
            (offset, entry)
            for offset, entry in enumerate(self.entries[: self.stable_end])
            if not (entry.marker or entry.aborted)
        ]
