"""Exactly once: one publication is one transaction that holds the outcomes and the consumer's offsets.

What the errors of its calls mean: `verdicts`.

A commit that is not answered in time is unknown too, and so is one that was answered with an error, even
if the abort that follows is confirmed. librdkafka has no KIP-890: all transactions of a producer have one epoch, so a
request that comes late takes effect in a later transaction of the same producer, ends it too early or
sets its offsets back. Hence a producer is used again only after a transaction in which every call was
answered well and sooner than librdkafka asks a second time by itself (`PROMPT_S`); a new one costs a few
milliseconds. Requests whose time is not measured may come late too, and neither lose nor double anything:

- Produce: its sequence numbers say that it was there, or its epoch that its producer is gone.
- AddPartitionsToTxn, which librdkafka sends while messages are handed over: it adds a partition to the transaction
  under way, or opens one without records, which the next joins. If none follows, the broker ends it after
  ``transaction.timeout.ms`` and raises the epoch. That looks like a newer instance: under a stable name the process
  ends, and its restart goes on.
- InitProducerId of a producer that was given up before it was ready: fences its successor, with the same end. It must
  have been sent over a connection that stood, since a new one waits for the broker's first answer; so there is one of
  them at most for each time that a coordinator stops to answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from consumer.errors import BrokerError
from consumer.logs import Repeats
from consumer.stream import hanging
from consumer.stream.absence import Absence
from consumer.stream.hand_overs import HandOvers
from consumer.stream.outbox import STEP_S, Clock, Late, Outbox
from consumer.stream.protocol import Publish, Published, Result
from consumer.stream.room import Room
from consumer.stream.source import OUTLIVED, Source
from consumer.stream.timely import leaving
from consumer.stream.verdicts import Verdict, refuse_forbidden

log = logging.getLogger(__name__)

PROMPT_S = 0.2
"""An answer that took no longer belongs to the only request that was sent: librdkafka sends again after
``retry.backoff.ms``, or over a new connection after ``reconnect.backoff.ms``, which are 300 ms for the
transactional producer (`consumer.stream.clients`) and no less than 225 with their jitter."""

PAUSE_S = 0.05
"""Between two calls of which the first failed at once: an abort that librdkafka was not ready for was called 54 000
times in ten seconds."""

HANGING_EVERY_S, HANGING_BUDGET_S = 30.0, 3.0
"""How often transactions that hang are aborted while partitions do not begin, and how long that may take before the
abort itself, which gets a second."""

MOST_LEAVING = 8
"""Producers that are being destroyed, each with its six threads: as long as a resolver does not answer they stay, and
one a second would follow them."""

TEND_EVERY_S = 1.0
"""How often a producer that could not be made is tried again while nothing is published."""


class TransactionalPublisher:
    """Exactly once: outcomes and offsets in one transaction.

    Args:
        make: gives a producer that has not begun.
        stable_name: whether another process may have this one's name.
        topics: where outcomes go.
        brokers_clock: tells whether the brokers may have ended a transaction for its age; null is ``clock``.
    """

    def __init__(
        self,
        make: Callable[[], Producer],
        source: Source,
        *,
        stable_name: bool,
        transaction_timeout_s: float,
        topics: Sequence[str] = (),
        clock: Clock = time.monotonic,
        brokers_clock: Clock | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._make = make
        self._source = source
        self._stable_name = stable_name
        self._transaction_timeout_s = transaction_timeout_s
        self._topics = topics
        self._clock = clock
        self._brokers_clock = brokers_clock or clock
        self._pause = pause
        self._hand_overs = HandOvers(source, clock)
        self._absence = Absence(source, self._brokers_clock, named=stable_name)
        self._outbox: Outbox | None = None
        self._room = Room(clock)
        self._tend_at = 0.0
        self._hanging_at = 0.0
        self._troubles = Repeats(log)
        self._began = 0.0
        self._fenced = False  # never starts a producer again: it would fence the one that fenced it

    def start(self, budget_s: float) -> None:
        """Registers the transactional id; a predecessor's open transaction is aborted by it."""
        if not self.replace(budget_s):
            raise BrokerError("the transaction coordinator did not answer: are the brokers healthy?")
        self._absence.begin()

    def publish(self, publication: Publish, budget_s: float) -> Published:
        """One transaction.

        Raises:
            BrokerError: this user lacks a right.
        """
        if self._fenced:
            return Published(Result.FENCED, OUTLIVED)
        self._absence.note()
        deadline = self._clock() + budget_s
        if self._outbox is None:
            self.replace(budget_s)
        outbox = self._outbox
        if outbox is None:
            asking = "whether this instance's name is still its own is being asked"
            return Published(Result.ABORTED, asking if self._absence.doubtful else "no producer yet")
        if not self._hand_overs.may_begin(publication.offsets, deadline - self._clock()):
            return Published(Result.ABORTED, "the group's coordinator does not answer")
        metadata = self._source.group_metadata()
        if metadata is None:
            return Published(Result.ABORTED, "not a member of the group")
        producer = outbox.producer
        committing = False
        prompt = True
        self._began = self._brokers_clock()
        # A transaction that outlives its timeout ends fatally: leave a fifth of it to abort in.
        deadline = min(deadline, self._clock() + 0.8 * self._transaction_timeout_s)
        try:
            producer.begin_transaction()
            outbox.put(publication, deadline)
            # Their partitions are in the transaction then. Offsets that come while the markers of the one before are
            # still written are sent again after 300 ms, partitions after 20: it cost a second now and then under load.
            outbox.await_acknowledged(deadline)
            if outbox.failed:
                self._abort(deadline)
                return outbox.answer() or Published(Result.ABORTED, "the transaction failed")
            prompt = self._hand_over(producer, self._source.positions(publication.offsets), metadata, deadline)
            committing = True
            prompt = self._again(deadline, producer.commit_transaction) and prompt
        except Late as late:
            return self._unfinished(committing, str(late), deadline)
        except KafkaException as error:
            return self._failed(outbox, error.args[0], committing, deadline)
        if not prompt:
            self._discard()
        return Published(Result.COMMITTED)

    def tend(self) -> None:
        """Makes a producer if there is none, and so ends at once what the last one may have left open."""
        self._absence.polled()
        if self._outbox is None and not self._absence.doubtful and self._clock() >= self._tend_at:
            self.replace(TEND_EVERY_S)
            self._tend_at = self._clock() + TEND_EVERY_S
        if self._outbox is not None:
            self._hear(self._outbox.producer)

    def abort_hanging(self) -> None:
        """Nobody is told the group's offsets, perhaps for a transaction of this instance's own: see `hanging`."""
        if self._outbox is None or self._fenced or self._absence.doubtful or self._clock() < self._hanging_at:
            return
        self._hanging_at = self._clock() + HANGING_EVERY_S
        deadline = self._clock() + HANGING_BUDGET_S
        metadata = self._source.group_metadata()
        if metadata is None or not self._source.is_answered(HANGING_BUDGET_S / 2):
            return
        producer = self._outbox.producer
        self._began = self._brokers_clock()
        troubles = []
        try:
            producer.begin_transaction()
        except KafkaException as error:
            self._broke(error.args[0])
            self._hanging_at = 0.0  # with the next producer
            return
        for step in (
            lambda: hanging.touch(producer, self._topics, lambda: deadline - self._clock()),
            lambda: self._hand_over(producer, hanging.harmless(self._topics), metadata, deadline),
        ):
            try:
                step()
            except (Late, KafkaException, BufferError) as error:  # the others may do what they can
                troubles.append(str(error))
        self._abort(deadline)
        told = f" (as far as it could be: {'; '.join(troubles)})" if troubles else ""
        log.warning(
            "aborted whatever this instance had left open; nothing, if another's transaction is the reason%s", told
        )

    def replace(self, budget_s: float) -> bool:
        """A new producer under the same transactional id, which ends the old one's transaction, and fences whoever has
        that id: not while it may be a newer instance's."""
        self._discard()
        if self._fenced or self._absence.note():
            return False
        if (count := leaving()) >= MOST_LEAVING:
            self._troubles.warning("leaving", "no new producer: %d that were given up are not gone yet", count)
            return False
        deadline = self._clock() + budget_s
        producer = self._make()

        def begin(left: float) -> None:
            if self._absence.note():  # the call before took long
                raise Late("whether this instance's name is still its own is to be asked first")
            producer.init_transactions(left)

        try:
            self._again(deadline, begin)
        except Late as late:
            self._troubles.warning("start", "the transactional producer is not ready: %s", late)
            return False
        except KafkaException as error:
            refuse_forbidden(error.args[0])
            self._troubles.warning("start", "the transactional producer is not ready: %s", error.args[0].str())
            return False
        self._troubles.over()
        self._outbox = Outbox(producer, self._clock, self._room)
        return True

    def close(self, budget_s: float) -> None:  # noqa: ARG002 - nothing is open between publications
        """No transaction is open between publications, so there is nothing to wait for."""
        self._discard()

    def _hear(self, producer: Producer) -> None:
        """Hands a producer's complaints over. One that broke between two publications raises here, and is replaced."""
        try:
            producer.poll(0)
        except KafkaException as error:
            self._broke(error.args[0])

    def _broke(self, error: KafkaError) -> None:
        """While no transaction was open."""
        self._troubles.warning("broken", "the producer broke, another takes its place: %s", error.str())
        self._began = self._brokers_clock()  # there is none that could have been timed out
        self._judge(error)
        self._abort(self._clock())  # which says by what, where the error says only that it broke

    def _hand_over(self, producer: Producer, offsets: list[TopicPartition], metadata: Any, deadline: float) -> bool:
        try:
            prompt = self._again(deadline, lambda left: producer.send_offsets_to_transaction(offsets, metadata, left))
        except Late:
            self._hand_overs.unanswered(producer)
            raise
        self._hand_overs.answered()
        return prompt

    def _unfinished(self, committing: bool, reason: str, deadline: float) -> Published:
        if committing:
            self._discard()
            return Published(Result.UNKNOWN, f"the commit was not answered in time: {reason}")
        self._abort(deadline)
        return Published(Result.ABORTED, reason)

    def _failed(self, outbox: Outbox, error: KafkaError, committing: bool, deadline: float) -> Published:
        verdict = self._judge(error)
        if verdict is Verdict.FENCED:
            self._discard()
            return Published(Result.FENCED, f"{OUTLIVED} ({error.str()})")
        if error.code() == KafkaError.FENCED_INSTANCE_ID:
            self._absence.doubt()  # the group knows another member of this name: a poll will tell, if it is a newer one
        if verdict is Verdict.ABORT:
            self._abort(deadline)  # and hears what the broker had to say of each message
            if self._fenced:
                return Published(Result.FENCED, OUTLIVED)
            refuse_forbidden(error)  # of the messages librdkafka says only that they were purged
            # With every message delivered, the error stands in the place of the commit's answer, and does not say
            # that nothing was committed. Nor does the abort: a late request may have begun what it ended.
            if committing and not outbox.failed:
                return Published(Result.UNKNOWN, error.str())
            # The call's own error says only that some message failed; the messages' reports say why. They are told to
            # whoever polls, so whichever call is under way when the broker refuses a message fails without them.
            return (outbox.answer() if outbox.failed else None) or Published(Result.ABORTED, error.str())
        if error.code() == KafkaError._FATAL:  # says that the producer is broken; the abort says by what
            self._abort(self._clock())
            if self._fenced:
                return Published(Result.FENCED, OUTLIVED)
        self._discard()
        if not committing:
            refuse_forbidden(error)
        return Published(Result.UNKNOWN if committing else Result.ABORTED, f"the producer broke: {error.str()}")

    def _judge(self, error: KafkaError) -> Verdict:
        """Of the classes that are left: `_again` has called again as long as the error was retriable."""
        verdict = Verdict.of(error)
        if verdict is Verdict.FENCED:
            # A transaction that the broker timed out looks the same; only a young one was fenced.
            young = self._brokers_clock() - self._began < self._transaction_timeout_s
            self._fenced = self._stable_name and young
            return Verdict.FENCED if self._fenced else Verdict.BROKEN
        return verdict

    def _abort(self, deadline: float) -> None:
        """Ends the open transaction and its producer.

        Only the producer where messages timed out and the name may be a newer instance's: librdkafka asks for a new
        epoch in such an abort, and the broker, if a transaction is open under the name, fences its owner without a look
        at who asks (TransactionCoordinator, state Ongoing): one of 16 successors ended by that. The transaction ends
        with the next producer's start, or by its age. Any other abort is done: its answer may be all that tells of a
        newer instance.
        """
        if self._outbox is None:
            return
        if self._outbox.timed_out and self._absence.note():
            self._discard()
            return
        try:
            self._again(max(deadline, self._clock() + 1.0), self._outbox.producer.abort_transaction)
        except (KafkaException, Late) as error:
            self._troubles.warning("abort", "the abort failed, the next producer's start does it: %s", error)
            if isinstance(error, KafkaException):
                self._judge(error.args[0])  # it may have been fenced
        finally:
            self._discard()

    def _again(self, deadline: float, call: Callable[[float], object]) -> bool:
        """Calls with the time left until it works; a retriable error means the same call once more.

        Returns:
            Whether the first call was answered, and at once.
        """
        first = True
        began = self._clock()
        while True:
            asked = self._clock()
            try:
                call(max(0.1, min(deadline - asked, STEP_S)))
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                if self._clock() >= deadline:
                    raise Late(error.args[0].str()) from None
                first = False
                if self._clock() - asked < PAUSE_S:
                    self._pause(PAUSE_S)
                continue
            return first and self._clock() - began <= PROMPT_S

    def _discard(self) -> None:
        """Lets go of the producer; what it had queued is thrown away, never sent late."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.producer.purge()
