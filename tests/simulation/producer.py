"""A producer with the face of confluent-kafka's and the ways of librdkafka 2.16.

With a transactional id it goes through librdkafka's states: an abortable error stays until the abort, a
fatal one for good.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.stream.absence import AWAY_S
from tests.simulation.answers import FATAL, Refused, TimedOut, abortable, fatal, plain, retriable
from tests.simulation.broker import OFFSETS
from tests.simulation.delivery import Delivery
from tests.simulation.group import GroupMetadata
from tests.simulation.offsets import Offset

HEARD_S = AWAY_S + 0.5
"""Within it a member that runs and looks has heard by a heartbeat that another has its place. Of one that was away for
less than `consumer.stream.absence.AWAY_S` nothing is promised."""


class Producer(Delivery):
    """Made for one process; the epoch that it gets at the broker ends with it.

    Args:
        name: the transactional id; null makes it a plain idempotent producer.
        largest: ``message.max.bytes``.
        broker_largest: the topics' ``max.message.bytes``.
        queue: most messages that it holds.
    """

    def init_transactions(self, timeout: float) -> None:
        assert self._name is not None
        name = self._name
        if self._process.fenced:
            self._broker.watcher.complain(f"taken back: {self._process.name} was fenced, and fences the newer one")
        elif self._broker.seat_was_taken(self._process, HEARD_S):
            self._broker.watcher.complain(
                f"taken back: {self._process.name} could not hear of the newer one, and fences it"
            )
        start = partial(self._broker.start_producer, name, self._timeout_s, self._process)
        found = self._ask("init", start, timeout)
        self._producer, self._epoch = found
        self._state = "ready"
        self._dice.tell(self._process.name, "has epoch {}", self._epoch)

    def begin_transaction(self) -> None:
        self._began = self._agenda.now  # as the caller sees it, wherever it is stopped
        self._require("ready")
        self._state, self._failed, self._requested = "open", 0, False
        self._commit_asked = False
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
        chosen = {one.partition: Offset.of(one) for one in offsets if one.topic == self._broker.input}
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
            self._commit_asked |= commit
            self._ask("end", end, timeout, weight=4.0)
        self._state = "ready"
        if commit or not self._commit_asked:  # after a commit of unknown result the abort's answer says nothing
            self._told_end((self._serial, self._number), commit)

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
