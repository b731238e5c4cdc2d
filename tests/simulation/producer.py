"""A producer with the face of confluent-kafka's and the ways of librdkafka 2.16.

With a transactional id it goes through librdkafka's states: an abortable error stays until the abort, a
fatal one for good. Messages leave in the background, some before the call that waits for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.agenda import Agenda
from tests.simulation.answers import FATAL, Refused, TimedOut, abortable, fatal, plain, retriable
from tests.simulation.broker import OFFSETS, Batch, Broker
from tests.simulation.dice import Dice
from tests.simulation.group import GroupMetadata
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


class Producer:
    """Made for one process; the epoch that it gets at the broker ends with it.

    Args:
        name: the transactional id; null makes it a plain idempotent producer.
        largest: ``message.max.bytes``.
        broker_largest: the topics' ``max.message.bytes``.
        queue: most messages that it holds.
    """

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
        self._state = "new"
        self._error: KafkaError | None = None
        self._producer, self._epoch = -1, -1
        self._queue: list[Queued] = []
        self._reports: list[tuple[Queued, KafkaError | None]] = []
        self._sequences: dict[tuple[str, int], int] = {}
        self._places: set[object] = set()
        self._requested = False  # something of this transaction was sent to its coordinator
        self._failed = 0  # messages of this transaction
        self._number = 0
        self._began = 0.0
        self._serial = broker.new_producer()
        if name is None:
            self._producer, self._epoch = self._serial, 0

    # ── messages ─────────────────────────────────────────────────────────────────────────────────

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

    # ── transactions ─────────────────────────────────────────────────────────────────────────────

    def init_transactions(self, timeout: float) -> None:
        assert self._name is not None
        name = self._name
        if self._process.fenced:
            self._broker.watcher.complain(f"taken back: {self._process.name} was fenced, and fences the newer one")
        start = partial(self._broker.start_producer, name, self._timeout_s, self._process)
        found = self._ask("init", start, timeout)
        self._producer, self._epoch = found
        self._state = "ready"
        self._dice.tell(self._process.name, "has epoch {}", self._epoch)

    def begin_transaction(self) -> None:
        self._require("ready")
        self._state, self._failed, self._requested = "open", 0, False
        self._began = self._agenda.now
        self._places.clear()
        self._number += 1

    def send_offsets_to_transaction(
        self, offsets: list[TopicPartition], metadata: GroupMetadata, timeout: float
    ) -> None:
        self._require("open")
        if self._dice.chance(0.5):
            self._send(timeout)
            self._require("open")
        assert self._name is not None
        name, producer, epoch = self._name, self._producer, self._epoch
        chosen = {one.partition: one.offset for one in offsets}
        self._requested = True
        self._ask("add offsets", lambda: self._broker.add_to_transaction(name, epoch, [OFFSETS]), timeout)
        try:
            self._ask(
                "send offsets",
                lambda: self._broker.commit_offsets_in(name, producer, epoch, chosen, metadata),
                timeout,
                weight=2.0,
            )
        except KafkaException as error:
            raise self._abortable_instead(error) from None

    def commit_transaction(self, timeout: float) -> None:
        if self._state != "committing":
            self._require("open")
        deadline = self._agenda.now + timeout
        self._send(timeout)
        self._report()
        self._sticky()
        if self._queue:
            raise retriable(KafkaError._TIMED_OUT, "flush: not everything is delivered")
        if self._failed:
            self._fail(KafkaError._INCONSISTENT, f"{self._failed} messages failed delivery")
        self._end(True, max(0.0, deadline - self._agenda.now))

    def abort_transaction(self, timeout: float) -> None:
        self._alive()
        if self._state == "fatal":
            self._sticky()
        if self._state == "committing":
            raise retriable(KafkaError._CONFLICT, "commit_transaction is in progress")
        if self._state not in ("open", "abortable", "aborting"):
            raise plain(KafkaError._STATE, "abort without a transaction")
        if self._state != "aborting":
            # What has been sent is waited for, or the sequence numbers would have a gap.
            self._reports += [(one, KafkaError(KafkaError._PURGE_QUEUE)) for one in self._queue if one.sequence < 0]
            self._queue = [one for one in self._queue if one.sequence >= 0]
            self._state, self._error = "aborting", None
        self._send(timeout)
        self._report()
        if self._state == "fatal":
            self._sticky()
        if self._queue:
            raise retriable(KafkaError._TIMED_OUT, "flush: not everything is delivered")
        self._end(False, timeout)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _end(self, commit: bool, timeout: float) -> None:
        assert self._name is not None
        name, epoch = self._name, self._epoch
        if self._requested:
            self._state = "committing" if commit else "aborting"
            end = lambda: self._broker.transactions.end(name, epoch, commit=commit)  # noqa: E731 - one name for both
            self._ask("end", end, timeout, weight=4.0)
        self._state = "ready"
        self._told_end((self._serial, self._number), commit)

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

    def _ask(self, request: str, do: Callable[[], Any], timeout: float, weight: float = 1.0) -> Any:
        """A request of the transactional API, with librdkafka's classes of errors."""
        try:
            return self._process.ask(request, do, timeout, weight=weight)
        except TimedOut:
            raise retriable(KafkaError._TIMED_OUT, f"{request}: no answer") from None
        except Refused as refused:
            if refused.code in FATAL:
                self._break(refused.code)
                self._sticky()
            if request == "init":
                raise plain(refused.code, request) from None
            self._fail(refused.code, request)

    def _abortable_instead(self, error: KafkaException) -> KafkaException:
        """``TxnOffsetCommit`` that is not answered in time fails the transaction: it is not called again."""
        cause = error.args[0]
        if isinstance(cause, KafkaError) and cause.retriable():
            self._state = "abortable"
            self._error = KafkaError(cause.code(), "send offsets", txn_requires_abort=True)
            return abortable(cause.code(), "send offsets")
        return error

    def _break(self, code: int) -> None:
        if self._name is not None and self._broker.owners.get(self._name) is not self._process:
            # An old transaction may have been timed out by the broker, which looks the same to a client.
            self._process.fenced |= self._agenda.now - self._began < self._timeout_s
        code = KafkaError._FENCED if code in (KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED) else code
        self._state, self._error = "fatal", KafkaError(code, "fatal", fatal=True)

    def _fail(self, code: int, text: str) -> NoReturn:
        self._state, self._error = "abortable", KafkaError(code, text, txn_requires_abort=True)
        raise abortable(code, text)

    def _sticky(self) -> None:
        """An error that was set before."""
        if self._error is not None:
            raise (fatal if self._state == "fatal" else abortable)(self._error.code(), self._error.str())

    def _require(self, state: str) -> None:
        self._alive()
        self._sticky()
        if self._state != state:
            raise plain(KafkaError._STATE, f"{self._state}, not {state}")

    def _alive(self) -> None:
        fate = self._dice.hiccup()
        if fate is not None:
            self._process.hiccup(*fate)
        self._process.check()
