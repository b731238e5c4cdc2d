"""Publications: outcomes and offsets, together or not at all.

`TransactionalPublisher` keeps ``exactly-once``: one publication is one transaction that holds the
outcomes and the consumer's offsets. `PlainPublisher` keeps ``at-least-once``: outcomes first, offsets
once every one of them is acknowledged.

Errors of transactions fall into four classes (`_judge`), as librdkafka hands them out:

=========  ===================================================  ===================================
class      told by                                              what is done
=========  ===================================================  ===================================
retriable  ``retriable()``                                      the same call again, until the budget
                                                                ends
abortable  ``txn_requires_abort()``, or the group has moved on  abort; the same is published later
fenced     PRODUCER_FENCED or INVALID_PRODUCER_EPOCH under a    the process ends
           stable name
broken     ``fatal()``, and everything else                     a new producer; if the commit had
                                                                been sent, its result is unknown
=========  ===================================================  ===================================

A commit that is not answered in time is unknown too. librdkafka has no KIP-890, so a producer with
an unknown commit is never used again: a request that comes late could end a later transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer, murmur2

from consumer import records
from consumer.errors import BrokerError
from consumer.stream.protocol import Claim, Publish, Published, Result
from consumer.stream.source import Source

log = logging.getLogger(__name__)

Clock = Callable[[], float]

STEP_S = 5.0
"""Longest that one call into librdkafka may take: signals and the budget are looked at in between."""

RECORD_OVERHEAD = 512
"""Bytes that a record's framing may add to its key, value and headers when librdkafka judges its size."""

PARTITIONS_KNOWN_FOR_S = 300.0
"""How long a topic's number of partitions is believed: what Kafka's clients take by default."""

GROUP_MOVED_ON = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError.REBALANCE_IN_PROGRESS,
}
FENCED = {KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError._FENCED}
TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
FORBIDDEN = {
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


class Publisher(Protocol):
    """What the loop needs: every method returns within its budget, or a little later."""

    def start(self, budget_s: float) -> None:
        """Makes ready to publish; a `BrokerError` says why it cannot."""

    def publish(self, publication: Publish, budget_s: float) -> Published:
        """Publishes and commits, and says what became of it."""

    def replace(self, budget_s: float) -> bool:
        """A new producer in place of one that broke; its transaction is ended first. False: not yet."""

    def close(self, budget_s: float) -> None:
        """Gives everything back."""


class _Judgement(Enum):
    RETRY = "retriable"
    ABORT = "abortable"
    FENCED = "fenced"
    BROKEN = "broken"


class _Late(Exception):
    """The budget ended first."""


class _Outbox:
    """Produces the messages of a publication and keeps what the broker said of each."""

    def __init__(self, producer: Producer, clock: Clock) -> None:
        self._producer = producer
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._attempt = 0
        self.pending = 0
        """Messages of this attempt that the broker has not acknowledged."""
        self.rejected: set[Claim] = set()
        self.refusals: list[KafkaError] = []

    def put(self, publication: Publish, deadline: float) -> None:
        """Hands every message to the producer; too large ones are noted in ``rejected``.

        Raises:
            KafkaException: the producer refused a message for another reason.
            _Late: its queue stayed full, or the number of partitions unknown.
        """
        self._attempt += 1
        self.pending = 0
        self.rejected.clear()
        self.refusals.clear()
        for claim, outcome in zip(publication.claims, publication.outcomes, strict=True):
            for message in outcome.messages:
                self._put(claim, message, deadline)

    def partition_of(self, message: records.Message) -> int:
        """Where Java clients put this key; without a key, what keeps the source's order."""
        count = self._count(message.topic)
        if message.key is None:
            return message.keyless_partition % count
        return int(murmur2(message.key, count))

    def _put(self, claim: Claim, message: records.Message, deadline: float) -> None:
        while True:
            try:
                self._producer.produce(
                    message.topic,
                    key=message.key,
                    value=message.value,
                    headers=list(message.headers),
                    partition=self.partition_of(message),
                    on_delivery=partial(self._delivered, self._attempt, claim),
                )
                self.pending += 1
            except BufferError:  # the producer's queue is full: let it send
                if self._clock() >= deadline:
                    raise _Late("the producer's queue stayed full") from None
                self._producer.poll(0.05)
                continue
            except KafkaException as error:
                if error.args[0].code() not in TOO_LARGE:
                    raise
                self.rejected.add(claim)
            return

    def _delivered(self, attempt: int, claim: Claim, error: KafkaError | None, _: Message) -> None:
        if attempt != self._attempt:
            return  # of an attempt that was given up
        if error is None:
            self.pending -= 1
        elif error.code() in TOO_LARGE:
            self.rejected.add(claim)
        else:
            self.refusals.append(error)  # a purged message too: it is not out

    def _count(self, topic: str) -> int:
        count, asked = self._counts.get(topic, (0, -PARTITIONS_KNOWN_FOR_S))
        if count and self._clock() - asked < PARTITIONS_KNOWN_FOR_S:
            return count
        try:
            found = self._producer.list_topics(topic, timeout=STEP_S).topics[topic]
        except KafkaException:
            if count:  # what was true a moment ago beats standing still
                return count
            raise
        if found.error is not None:
            raise KafkaException(found.error)
        self._counts[topic] = (len(found.partitions), self._clock())
        return len(found.partitions)


class TransactionalPublisher:
    """Exactly once: outcomes and offsets in one transaction."""

    def __init__(
        self,
        make: Callable[[], Producer],
        source: Source,
        *,
        stable_name: bool,
        transaction_timeout_s: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._make = make
        self._source = source
        self._stable_name = stable_name
        self._transaction_timeout_s = transaction_timeout_s
        self._clock = clock
        self._producer: Producer | None = None
        self._outbox: _Outbox | None = None

    def start(self, budget_s: float) -> None:
        """Registers the transactional id; a predecessor's open transaction is aborted by it."""
        if not self.replace(budget_s):
            raise BrokerError("the transaction coordinator did not answer: are the brokers healthy?")

    def publish(self, publication: Publish, budget_s: float) -> Published:
        """One transaction. Never raises for what the broker says: see `Published`."""
        began = self._clock()
        # A transaction that outlives its timeout ends fatally: leave a fifth of it to abort in.
        deadline = began + min(budget_s, 0.8 * self._transaction_timeout_s)
        metadata = self._source.group_metadata()
        if metadata is None:
            return Published(Result.ABORTED, "not a member of the group")
        if self._producer is None and not self.replace(budget_s):
            return Published(Result.ABORTED, "no producer yet")
        producer, outbox = self._producer, self._outbox
        assert producer is not None
        assert outbox is not None
        committing = False
        try:
            producer.begin_transaction()
            outbox.put(publication, deadline)
            if outbox.rejected:
                self._abort(deadline)
                return Published(Result.ABORTED, "outcomes too large", tuple(outbox.rejected))
            offsets = self._source.positions(publication.offsets)
            self._again(deadline, lambda left: producer.send_offsets_to_transaction(offsets, metadata, left))
            committing = True
            self._again(deadline, producer.commit_transaction)
        except _Late as late:
            return self._unfinished(committing, str(late), deadline)
        except KafkaException as error:
            cause = outbox.refusals[0] if outbox.refusals else error.args[0]
            return self._failed(error.args[0], cause, committing, began)
        return Published(Result.COMMITTED)

    def replace(self, budget_s: float) -> bool:
        """A new producer under the same transactional id, which ends the old one's transaction."""
        self._discard()
        deadline = self._clock() + budget_s
        producer = self._make()
        try:
            self._again(deadline, producer.init_transactions)
        except _Late as late:
            log.warning("the transactional producer is not ready: %s", late)
            return False
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN:
                raise BrokerError(
                    f"not authorised to publish: {error.args[0].str()}; grant Write on the transactional id"
                ) from None
            log.warning("the transactional producer is not ready: %s", error.args[0].str())
            return False
        self._producer, self._outbox = producer, _Outbox(producer, self._clock)
        return True

    def close(self, budget_s: float) -> None:  # noqa: ARG002 - nothing is open between publications
        """No transaction is open between publications, so there is nothing to wait for."""
        self._discard()

    def _unfinished(self, committing: bool, reason: str, deadline: float) -> Published:
        if committing:
            self._discard()
            return Published(Result.UNKNOWN, f"the commit was not answered in time: {reason}")
        self._abort(deadline)
        return Published(Result.ABORTED, reason)

    def _failed(self, error: KafkaError, cause: KafkaError, committing: bool, began: float) -> Published:
        outbox = self._outbox
        judgement = self._judge(error, self._clock() - began)
        if judgement is _Judgement.FENCED:
            self._discard()
            return Published(Result.FENCED, f"a newer instance has taken this one's INSTANCE_ID ({error.str()})")
        if judgement is _Judgement.ABORT:
            self._abort(self._clock() + STEP_S)
            return Published(Result.ABORTED, cause.str(), tuple(outbox.rejected) if outbox else ())
        self._discard()
        return Published(Result.UNKNOWN if committing else Result.ABORTED, f"the producer broke: {cause.str()}")

    def _judge(self, error: KafkaError, age_s: float) -> _Judgement:
        if error.retriable():
            return _Judgement.RETRY
        if error.code() in FENCED:
            # A transaction that the broker timed out looks the same; only a young one was fenced.
            fenced = self._stable_name and age_s < self._transaction_timeout_s
            return _Judgement.FENCED if fenced else _Judgement.BROKEN
        if not error.fatal() and (error.txn_requires_abort() or error.code() in GROUP_MOVED_ON):
            return _Judgement.ABORT
        return _Judgement.BROKEN

    def _abort(self, deadline: float) -> None:
        """Ends the open transaction; if even that fails, the next producer's start ends it."""
        producer = self._producer
        if producer is None:
            return
        try:
            self._again(max(deadline, self._clock() + 1.0), producer.abort_transaction)
        except (KafkaException, _Late) as error:
            log.warning("the abort failed, the producer is replaced: %s", error)
            self._discard()

    def _again(self, deadline: float, call: Callable[[float], object]) -> None:
        """Calls with the time left until it works; a retriable error means the same call once more."""
        while True:
            left = deadline - self._clock()
            try:
                call(max(0.1, min(left, STEP_S)))
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                if self._clock() >= deadline:
                    raise _Late(error.args[0].str()) from None
                continue
            return

    def _discard(self) -> None:
        """Lets go of the producer; what it had queued is thrown away, never sent late."""
        producer, self._producer, self._outbox = self._producer, None, None
        if producer is not None:
            producer.purge()


class PlainPublisher:
    """At least once: outcomes, then offsets. Nothing is lost; a failure in between doubles."""

    def __init__(
        self, make: Callable[[], Producer], source: Source, *, largest: int, clock: Clock = time.monotonic
    ) -> None:
        self._make = make
        self._largest = largest  # the producer's message.max.bytes
        self._source = source
        self._clock = clock
        self._producer: Producer | None = None
        self._outbox: _Outbox | None = None
        self._owed: dict[int, int] = {}

    def start(self, budget_s: float) -> None:  # noqa: ARG002 - nothing to wait for
        """Makes the producer."""
        self.replace(0.0)

    def publish(self, publication: Publish, budget_s: float) -> Published:
        """Outcomes first, and their offsets once all are acknowledged."""
        deadline = self._clock() + budget_s
        producer, outbox = self._producer, self._outbox
        assert producer is not None
        assert outbox is not None
        answer = self._send(producer, outbox, publication, deadline)
        if answer is not None:
            if len(producer):
                # What is left must not come after the same outcomes of the next attempt. The purge goes on in
                # the background and would hit what is produced meanwhile, so the next attempt has a new producer.
                producer.purge()
                self.replace(0.0)
            return answer
        self._owed |= publication.offsets
        self._commit()
        return Published(Result.COMMITTED)

    def replace(self, budget_s: float) -> bool:  # noqa: ARG002 - nothing to wait for
        """A new producer."""
        self._producer = self._make()
        self._outbox = _Outbox(self._producer, self._clock)
        return True

    def close(self, budget_s: float) -> None:
        """Waits for what is still on its way, and commits what is owed."""
        if self._producer is not None:
            self._producer.flush(budget_s)
        if self._owed:
            self._commit()

    def _send(self, producer: Producer, outbox: _Outbox, publication: Publish, deadline: float) -> Published | None:
        """Null if every message is acknowledged; else what to answer. Some may be out: they will be doubled."""
        # Found before anything is sent, or each reduction would send the neighbours once more.
        large = tuple(
            claim
            for claim, outcome in zip(publication.claims, publication.outcomes, strict=True)
            if any(message.size + RECORD_OVERHEAD > self._largest for message in outcome.messages)
        )
        if large:
            return Published(Result.ABORTED, "outcomes too large", large)
        try:
            outbox.put(publication, deadline)
        except (_Late, KafkaException) as error:
            return Published(Result.ABORTED, str(error))
        producer.flush(max(0.0, deadline - self._clock()))
        if outbox.rejected:
            return Published(Result.ABORTED, "outcomes too large", tuple(outbox.rejected))
        if outbox.refusals:
            return Published(Result.ABORTED, outbox.refusals[0].str())
        if outbox.pending:  # an empty queue is no proof: only acknowledgements count
            return Published(Result.ABORTED, f"{outbox.pending} messages were not acknowledged in time")
        return None

    def _commit(self) -> None:
        """The outcomes are out, so a commit that fails is owed, not undone: the next one covers it."""
        mine = self._source.partitions()  # another member's offsets must not be set back
        self._owed = {partition: offset for partition, offset in self._owed.items() if partition in mine}
        try:
            self._source.commit(self._owed)
        except KafkaException as error:
            log.warning("offsets are not committed yet, a crash now would double: %s", error.args[0].str())
        else:
            self._owed.clear()
