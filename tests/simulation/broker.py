"""Apache Kafka as one object: topics, a group, transactions, and the time that their parts take.

Every method is what a broker does with one request at the moment it handles it. What may happen to the
request and to its answer on the way is the business of `tests.simulation.process`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from tests.simulation.agenda import Agenda
from tests.simulation.dice import Dice
from tests.simulation.group import Assignor, GroupCoordinator, GroupMetadata
from tests.simulation.heartbeats import HeartbeatCoordinator
from tests.simulation.log import Entry, PartitionLog
from tests.simulation.offsets import GroupOffsets
from tests.simulation.process import Process
from tests.simulation.transactions import Place, TransactionCoordinator, Transactions

MARK = "topic-id="
"""As `consumer.stream.identity` has it."""

OFFSETS: Place = ("__consumer_offsets", 0)

MAX_POLL_S = 60.0
"""The service's ``max.poll.interval.ms``, which is the rebalance timeout too."""

DISCOVERY_S = 30.0
"""When clients have a new partition in their metadata at the latest (``topic.metadata.refresh.interval.ms``)."""

EXPIRE_EVERY_S = 1.0
"""How often transactions are looked through for old ones (10 s in Kafka, 0.5 s in our own tests)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A record for one partition, with its sequence number there."""

    topic: str
    partition: int
    sequence: int
    entry: Entry


class Watcher:
    """Told of what became final, at the moment it is decided; the oracle is one."""

    def visible(self, place: Place, entries: list[Entry]) -> None:
        """These records are committed."""

    def committed(self, offsets: Mapping[int, int]) -> None:
        """These offsets of the input topic are committed."""

    def complain(self, text: str) -> None:
        """Something was done that nobody may do."""


class Broker:
    """See the module's text. ``topics`` says how many partitions each has; the first one is the input."""

    def __init__(
        self, agenda: Agenda, dice: Dice, topics: Mapping[str, int], assignor: Assignor, watcher: Watcher | None = None
    ) -> None:
        self.topics = dict(topics)
        self.input = next(iter(topics))
        self.made = 0
        """How often the input topic was made again."""
        self.logs: dict[Place, PartitionLog] = {(t, p): PartitionLog() for t, n in topics.items() for p in range(n)}
        self.group: GroupCoordinator | HeartbeatCoordinator
        if assignor == "consumer":
            self.group = HeartbeatCoordinator(topics[self.input], agenda.after, MAX_POLL_S)
        else:
            self.group = GroupCoordinator(assignor, topics[self.input])
        self.offsets = GroupOffsets()
        self.transactions = TransactionCoordinator(agenda.clock, self._decided)
        self.owners: dict[str, object] = {}
        """Transactional id → the process that took it last."""
        self.seats: dict[str, tuple[Process, float]] = {}
        """``group.instance.id`` → the process that has its place in the group, and since when."""
        self.watcher = watcher or Watcher()
        self._agenda = agenda
        self._dice = dice
        self._readers: dict[object, Callable[[], None]] = {}
        self._looking = False
        self._plain_producers = 0

    def new_producer(self) -> int:
        """``InitProducerId`` without a transactional id: a number that no other producer has."""
        self._plain_producers += 1
        return 1_000_000 + self._plain_producers

    def seat(self, instance: str | None, process: Process) -> None:
        """A process has joined the group, in the place of whoever had its name before."""
        if instance is not None and (instance not in self.seats or self.seats[instance][0] is not process):
            self.seats[instance] = process, self._agenda.now
            process.seated = True

    def seat_was_taken(self, process: Process, for_s: float) -> bool:
        """Whether another process that runs has had this one's place in the group for so long."""
        owner, since = self.seats.get(process.name, (process, 0.0))
        return process.seated and owner is not process and not owner.dead and self._agenda.now - since > for_s

    # ── produce and fetch ────────────────────────────────────────────────────────────────────────

    def produce(self, batches: list[Batch], producer: int, epoch: int) -> None:
        """``Produce`` of an idempotent producer without a transaction."""
        for batch in batches:
            log = self.logs[batch.topic, batch.partition]
            entry = replace(batch.entry)  # what is sent twice may be written twice
            if log.append_of(entry, producer, epoch, batch.sequence, transactional=False):
                self.watcher.visible((batch.topic, batch.partition), [entry])

    def produce_in(self, name: str, batches: list[Batch], producer: int, epoch: int) -> None:
        """``Produce`` inside of a transaction."""
        for batch in batches:
            place = batch.topic, batch.partition
            self.transactions.verify(name, epoch, place)
            self.logs[place].append_of(replace(batch.entry), producer, epoch, batch.sequence, transactional=True)

    def append_input(self, partition: int, *entries: Entry) -> None:
        """What other people publish to the input topic."""
        for entry in entries:
            self.logs[self.input, partition].append(entry)
        self._wake_readers()

    def add_partition(self) -> None:
        """``CreatePartitions`` for the input topic: the group hears of it when a client's metadata are new."""
        self.logs[self.input, self.topics[self.input]] = PartitionLog()
        self.topics[self.input] += 1
        self._agenda.after(self._dice.between(0.0, DISCOVERY_S), self._discover)

    def _discover(self) -> None:
        self.group.partitions = self.topics[self.input]
        self.group.shake()

    @property
    def mark(self) -> str:
        """What stands beside an offset of the input topic that is there now."""
        return f"{MARK}{self.made}"

    def make_again(self) -> None:
        """The input topic is deleted and made again: its id is new, its records and the offsets in it are gone."""
        self.made += 1
        for partition in range(self.topics[self.input]):
            self.logs[self.input, partition] = PartitionLog()
        self.offsets.forget()
        self._wake_readers()

    def on_news(self, reader: object, wake: Callable[[], None] | None) -> None:
        """Wakes a reader when the input topic has something new."""
        if wake is None:
            self._readers.pop(reader, None)
        else:
            self._readers[reader] = wake

    # ── offsets ──────────────────────────────────────────────────────────────────────────────────

    def commit_offsets(self, offsets: Mapping[int, int], metadata: GroupMetadata) -> None:
        """``OffsetCommit``."""
        self.group.check(metadata, offsets, transactional=False)
        self.offsets.commit(offsets)
        self.watcher.committed(offsets)

    def commit_offsets_in(
        self, name: str, producer: int, epoch: int, offsets: Mapping[int, int], metadata: GroupMetadata
    ) -> None:
        """``TxnOffsetCommit``."""
        self.transactions.verify(name, epoch, OFFSETS)
        self.group.check(metadata, offsets, transactional=True)
        self.offsets.commit_of(producer, epoch, offsets)

    def committed(self, partition: int) -> int:
        """``OffsetFetch`` that waits for open transactions, as ``read_committed`` consumers ask it."""
        return self.offsets.stable(partition)

    # ── transactions ─────────────────────────────────────────────────────────────────────────────

    def start_producer(self, name: str, timeout_s: float, process: object) -> tuple[int, int]:
        """``InitProducerId`` with a transactional id."""
        found = self.transactions.init(name, timeout_s)
        self.owners[name] = process
        return found

    def add_to_transaction(self, name: str, epoch: int, places: list[Place]) -> None:
        """``AddPartitionsToTxn`` and ``AddOffsetsToTxn``."""
        self.transactions.add(name, epoch, places)
        if not self._looking:
            self._looking = True
            self._agenda.after(EXPIRE_EVERY_S, self._look_for_old_ones)

    def _look_for_old_ones(self) -> None:
        for name in self.transactions.expire():
            self._dice.tell("broker", "times out the transaction of {}", name)
        self._looking = self.transactions.any_open
        if self._looking:
            self._agenda.after(EXPIRE_EVERY_S, self._look_for_old_ones)

    def _decided(self, one: Transactions) -> None:
        """Markers go to every partition of the transaction, each when its leader gets to it."""
        left = list(one.places)
        if one.commit:
            for place in left:
                if place != OFFSETS and one.producer in self.logs[place].open_producers:
                    self.watcher.visible(place, self.logs[place].open_entries(one.producer))
        if not left:
            self.transactions.complete(one)

        def mark(place: Place) -> None:
            if place == OFFSETS:
                offsets = self.offsets.mark(one.producer, one.epoch, commit=one.commit)
                if offsets:
                    self.watcher.committed(offsets)
            else:
                self.logs[place].mark(one.producer, one.epoch, commit=one.commit)
            left.remove(place)
            if not left:
                self.transactions.complete(one)

        for place in list(left):
            self._agenda.after(self._dice.short(), partial(mark, place))

    def _wake_readers(self) -> None:
        for wake in list(self._readers.values()):
            wake()
