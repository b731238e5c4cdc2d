"""Messages on their way: the part of a simulated producer that every producer has, with librdkafka's ways.

Messages leave in the background, some before the call that waits for them; each has a sequence number in
its partition, by which a broker knows what was sent twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaError

from tests.simulation.agenda import Agenda
from tests.simulation.answers import FATAL, Refused, TimedOut, plain
from tests.simulation.broker import Batch, Broker
from tests.simulation.dice import Dice
from tests.simulation.log import Entry
from tests.simulation.process import Process

Report = Callable[[KafkaError | None, object], None]


@dataclass(slots=True)
class Queued:
    """A message on its way, and whom to tell."""

    topic: str
    partition: int
    entry: Entry
    report: Report | None
    sequence: int = -1


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """What ``list_topics`` says of one topic."""

    partitions: dict[int, None]
    error: None = None


@dataclass(frozen=True, slots=True)
class ClusterMetadata:
    """What ``list_topics`` says."""

    topics: dict[str, TopicMetadata]


class Delivery:
    """See the module's text; the arguments are those of `Producer`."""

    def __init__(
        self,
        process: Process,
        broker: Broker,
        agenda: Agenda,
        dice: Dice,
        *,
        name: str | None,
        timeout_s: float = 10.0,
        largest: int = 10_000,
        broker_largest: int = 5_000,
        queue: int = 100,
        ended: Callable[[object, bool], None] = lambda label, committed: None,
        produced: Callable[[list[tuple[str, bytes | None]]], None] = lambda headers: None,
    ) -> None:
        self._process = process
        self._broker = broker
        self._agenda = agenda
        self._dice = dice
        self._name = name
        self._timeout_s = timeout_s
        self._largest = largest
        self._broker_largest = broker_largest
        self._most = queue
        self._told_end = ended
        self._told_produced = produced
        self._state = "new"
        self._error: KafkaError | None = None
        self._producer, self._epoch = -1, -1
        self._queue: list[Queued] = []
        self._reports: list[tuple[Queued, KafkaError | None]] = []
        self._sequences: dict[tuple[str, int], int] = {}
        self._places: set[object] = set()
        self._requested = False  # something of this transaction was sent to its coordinator
        self._commit_asked = False
        self._failed = 0  # messages of this transaction
        self._number = 0
        self._began = 0.0
        self._serial = broker.new_producer()
        if name is None:
            self._producer, self._epoch = self._serial, 0

    def list_topics(self, topic: str, timeout: float) -> ClusterMetadata:
        if self._dice.fate("metadata", 0.1) is not None:
            self._process.hiccup("slow", timeout)
            raise plain(KafkaError._TRANSPORT, "metadata")
        return ClusterMetadata({topic: TopicMetadata(dict.fromkeys(range(self._broker.topics[topic])))})

    def produce(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        partition: int,
        on_delivery: Report | None = None,
    ) -> None:
        self._alive()
        if self._error is not None:
            raise plain(KafkaError._FATAL if self._state == "fatal" else KafkaError._STATE, "produce")
        if self._name is not None and self._state != "open":
            raise plain(KafkaError._STATE, "produce outside of a transaction")
        if len(self._queue) >= self._most or (not self._dice.calm and self._dice.chance(self._dice.full)):
            raise BufferError("Local: Queue full")
        self._told_produced(headers)
        if len(value or b"") + len(key or b"") > self._largest:
            raise plain(KafkaError.MSG_SIZE_TOO_LARGE, "produce")
        entry = Entry(key, value, int(self._agenda.now * 1000), label=(self._serial, self._number))
        self._queue.append(Queued(topic, partition, entry, on_delivery))

    def poll(self, timeout: float) -> int:
        self._send(timeout)
        return self._report()

    def flush(self, timeout: float) -> int:
        self._send(timeout)
        self._report()
        return len(self)

    def purge(self) -> None:
        self._alive()
        gone, self._queue = self._queue, []
        self._reports += [(one, KafkaError(KafkaError._PURGE_QUEUE)) for one in gone]

    def __len__(self) -> int:
        return len(self._queue) + len(self._reports)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _send(self, timeout: float) -> None:
        """Hands the queue to the brokers, in order, and waits."""
        self._alive()
        if not self._queue or self._state == "fatal":
            return
        batches = self._batches()
        sent = [one for one in self._queue if one.sequence >= 0]
        if not sent:
            return
        epoch, producer, name = self._epoch, self._producer, self._name
        try:
            if name is None:
                self._process.ask("produce", lambda: self._broker.produce(batches, producer, epoch), timeout, weight=2)
            else:
                self._requested = True
                places = list(dict.fromkeys((b.topic, b.partition) for b in batches))
                if not self._places.issuperset(places):
                    add = lambda: self._broker.add_to_transaction(name, epoch, places)  # noqa: E731 - as above
                    self._process.ask("add partitions", add, timeout)
                    self._places.update(places)
                self._process.ask("produce", lambda: self._broker.produce_in(name, batches, producer, epoch), timeout)
        except TimedOut:
            return
        except Refused as refused:
            self._refused(sent, refused.code)
        else:
            self._queue = self._queue[len(sent) :]
            self._reports += [(one, None) for one in sent]

    def _batches(self) -> list[Batch]:
        """The queue without what the broker finds too large: that has its report already."""
        batches: list[Batch] = []
        kept: list[Queued] = []
        for one in self._queue:
            if one.sequence < 0 and self._state == "abortable":
                kept.append(one)
                continue  # nothing more is sent in a transaction that must be aborted
            if one.sequence < 0:
                place = one.topic, one.partition
                one.sequence = self._sequences.get(place, 0)
                too_large = len(one.entry.value or b"") > self._broker_largest
                if not too_large or self._name is not None:
                    # With a transactional id the number of the record that is refused is lost, and whatever
                    # comes after it in a later transaction is out of order for ever (seen with 2.16).
                    self._sequences[place] = one.sequence + 1
                if too_large:
                    self._reports.append((one, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)))
                    self._broken_delivery(KafkaError.MSG_SIZE_TOO_LARGE)
                    continue
            kept.append(one)
            batches.append(Batch(one.topic, one.partition, one.sequence, one.entry))
        self._queue = kept
        return batches

    def _refused(self, sent: list[Queued], code: int) -> None:
        self._queue = self._queue[len(sent) :]
        self._reports += [(one, KafkaError(code)) for one in sent]
        if self._name is not None and code in FATAL:
            self._break(code)
        else:
            self._broken_delivery(code)

    def _broken_delivery(self, code: int) -> None:
        self._failed += 1
        if self._name is not None and self._state == "open":
            self._state, self._error = "abortable", KafkaError(code, "delivery failed", txn_requires_abort=True)

    def _report(self) -> int:
        reports, self._reports = self._reports, []
        for one, error in reports:
            if one.report is not None:
                one.report(error, None)
        return len(reports)

    def _break(self, code: int) -> None:
        if code in (KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
            code = KafkaError._FENCED
            # An old transaction may have been timed out by the broker, which looks the same to a client.
            young = self._agenda.now - self._began < self._timeout_s
            self._process.fenced |= (
                young and self._name is not None and self._broker.owners[self._name] is not self._process
            )
        self._state, self._error = "fatal", KafkaError(code, "fatal", fatal=True)

    def _alive(self) -> None:
        fate = self._dice.hiccup()
        if fate is not None:
            self._process.hiccup(*fate)
        self._process.check()
