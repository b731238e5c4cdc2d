"""A producer, and what the broker said of each message that was handed to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer, murmur2

from consumer import records
from consumer.errors import BrokerError
from consumer.stream.protocol import Claim, Publish, Published, Result
from consumer.stream.room import Room

Clock = Callable[[], float]
"""Monotonic seconds."""

STEP_S = 5.0
"""Longest that one call into librdkafka may take: signals and the budget are looked at in between."""

PEEK_S = 0.1
"""How long a refusal goes unnoticed while other messages are waited for, which may never be sent."""

PARTITIONS_KNOWN_FOR_S = 300.0
"""How long a topic's number of partitions is believed: what Kafka's clients take by default."""

PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
"""What an abort, or letting a producer go, says of messages that were not acknowledged yet."""

TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}


class Late(Exception):
    """The budget ended first."""


@dataclass(slots=True, eq=False)
class _Part:
    """What is under way together: every claim whose messages are in it, and their bytes."""

    claims: set[Claim] = field(default_factory=set)
    size: int = 0


@dataclass(slots=True)
class _Attempt:
    """What the broker has said of the messages of one attempt.

    Librdkafka keeps it until every message is told of, and nobody polls a producer that was let go. So it must
    not hold the producer, which could never be destroyed: its threads and sockets would stay.
    """

    acknowledged: set[tuple[Claim, str]] | None
    pending: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Messages that are not acknowledged, by topic and partition."""
    rejected: set[Claim] = field(default_factory=set)
    too_large: list[_Part] = field(default_factory=list)
    invalid: dict[Claim, records.Message] = field(default_factory=dict)
    """What the broker takes for no record that this topic may have."""
    refusals: list[KafkaError] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)

    def delivered(
        self,
        claim: Claim,
        part: _Part,
        message: records.Message,
        partition: int,
        error: KafkaError | None,
        _: Message | None,
    ) -> None:
        """The client's report of one message."""
        if error is None:
            self.pending[message.topic, partition] -= 1
            if self.acknowledged is not None:
                self.acknowledged.add((claim, message.topic))
        elif error.code() in TOO_LARGE:
            if part not in self.too_large:
                self.too_large.append(part)
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self.forbidden.add(message.topic)
        elif error.code() == KafkaError.INVALID_RECORD:
            self.invalid[claim] = message
        elif error.code() not in PURGED:  # which says nothing of the message; it stays pending, since it is not out
            self.refusals.append(error)

    def unacknowledged(self) -> str:
        """How many messages to which partitions are not acknowledged; nothing if all are."""
        left = sorted(place for place, count in self.pending.items() if count)
        if not left:
            return ""
        topics = {topic: [partition for one, partition in left if one == topic] for topic, _ in left}
        places = ", ".join(f"partitions {partitions} of {topic}" for topic, partitions in topics.items())
        return f"not acknowledged in time: {self.pending.total()} messages to {places}"


class Outbox:
    """Produces the messages of one publication after the other; reports of an earlier one are not mixed in.

    Args:
        clock: monotonic seconds.
        room: what the broker is given at once; kept by the caller, since it may need a new producer.
        acknowledged: messages that are out already, by claim and topic, and are not sent again; what is acknowledged is
            added. Null in a transaction, which is aborted as a whole.
    """

    def __init__(
        self, producer: Producer, clock: Clock, room: Room, acknowledged: set[tuple[Claim, str]] | None = None
    ) -> None:
        self.producer = producer
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._room = room
        self._acknowledged = acknowledged
        self._attempt = _Attempt(acknowledged)

    def put(self, publication: Publish, deadline: float) -> None:
        """Hands every message to the producer, up to the first that is known to be refused.

        Raises:
            KafkaException: the producer refused a message for another reason.
            Late: its queue stayed full, the number of partitions unknown, or a part of it unacknowledged.
        """
        self._attempt = _Attempt(self._acknowledged)
        room = self._room.size()
        part = _Part()
        for claim, outcome in zip(publication.claims, publication.outcomes, strict=True):
            messages = [one for one in outcome.messages if (claim, one.topic) not in (self._acknowledged or ())]
            if not messages:
                continue
            size = sum(message.size for message in messages)
            if part.claims and part.size + size > room:
                self.await_acknowledged(deadline)
                if self.failed:
                    return
                part = _Part()
            part.claims.add(claim)
            part.size += size
            for message in messages:
                if not self._put(claim, message, part, deadline):
                    return

    def flush(self, deadline: float) -> None:
        """Waits until all is acknowledged or refused, but no longer than this."""
        self.producer.flush(max(0.0, deadline - self._clock()))

    @property
    def failed(self) -> bool:
        """Whether the broker, or the producer, has refused any message of this attempt, as far as it was heard."""
        told = self._attempt
        return bool(told.rejected or told.too_large or told.invalid or told.refusals or told.forbidden)

    @property
    def timed_out(self) -> bool:
        """Whether the producer has given up a message of this attempt for its age."""
        return any(error.code() == KafkaError._MSG_TIMED_OUT for error in self._attempt.refusals)

    def answer(self) -> Published | None:
        """What became of the attempt, as far as the broker has told; null if every message is acknowledged.

        Raises:
            BrokerError: this user may not write there, or the broker takes one of the outcomes never.
        """
        told = self._attempt
        if told.forbidden:
            topics = ", ".join(sorted(told.forbidden))
            raise BrokerError(f"not authorised to publish: grant Write on topic {topics} to this service's user")
        for part in told.too_large:
            if len(part.claims) == 1:
                told.rejected |= part.claims
        if told.rejected:
            return Published(Result.ABORTED, "outcomes too large", tuple(told.rejected))
        if told.too_large:
            largest = max(told.too_large, key=lambda part: part.size)
            self._room.refused(largest.size)
            reason = f"the broker finds {len(largest.claims)} outcomes, {largest.size} bytes, too large together"
            return Published(Result.ABORTED, f"{reason}: they are sent in smaller parts", narrowed=True)
        if keyless := next((claim for claim, message in told.invalid.items() if message.key is None), None):
            raise BrokerError(
                f"the broker never takes the outcome of partition {keyless.partition}, offset {keyless.offset}, whose "
                f"event has no key, into {told.invalid[keyless].topic}: with cleanup.policy=compact a topic takes no "
                "record without a key; set its policy to delete (or this machine's clock, should it be an hour ahead)"
            )
        if told.invalid:  # as where this machine's clock is an hour ahead: all wait until it is not
            topic = next(iter(told.invalid.values())).topic
            return Published(Result.ABORTED, f"{topic} takes none of the outcomes: is this machine's clock ahead?")
        if told.refusals:
            return Published(Result.ABORTED, told.refusals[0].str())
        if left := told.unacknowledged():  # an empty queue is no proof: only acknowledgements count
            return Published(Result.ABORTED, left)
        return None

    def partition_of(self, message: records.Message, deadline: float = math.inf) -> int:
        """Where Java clients put this key; without a key, what keeps the source's order."""
        count = self._count(message.topic, deadline)
        if message.key is None:
            return message.keyless_partition % count
        return int(murmur2(message.key, count))

    def _put(self, claim: Claim, message: records.Message, part: _Part, deadline: float) -> bool:
        """False if nothing more should be put, since the attempt has failed already."""
        while True:
            try:
                partition = self.partition_of(message, deadline)
                self.producer.produce(
                    message.topic,
                    key=message.key,
                    value=message.value,
                    headers=list(message.headers),
                    partition=partition,
                    on_delivery=partial(self._attempt.delivered, claim, part, message, partition),
                )
            except BufferError:  # the producer's queue is full: let it send
                if self._clock() >= deadline:
                    raise Late("the producer's queue stayed full") from None
                self.producer.poll(0.05)
                continue
            except KafkaException as error:
                if error.args[0].code() in TOO_LARGE:
                    self._attempt.rejected.add(claim)
                elif error.args[0].code() == KafkaError._STATE:  # the transaction has failed by an earlier message
                    self.producer.poll(0)
                    self._attempt.refusals.append(error.args[0])
                else:
                    raise
                return False
            self._attempt.pending[message.topic, partition] += 1
            return True

    def await_acknowledged(self, deadline: float) -> None:
        """Waits until all is acknowledged, or one is refused: then librdkafka sends nothing more in a transaction."""
        while not self.failed:
            self.producer.flush(max(0.0, min(PEEK_S, deadline - self._clock())))
            if not len(self.producer):
                return
            if self._clock() >= deadline:
                raise Late(self._attempt.unacknowledged())

    def _count(self, topic: str, deadline: float) -> int:
        count, asked = self._counts.get(topic, (0, -PARTITIONS_KNOWN_FOR_S))
        if count and self._clock() - asked < PARTITIONS_KNOWN_FOR_S:
            return count
        try:
            left = max(0.1, min(STEP_S, deadline - self._clock()))
            found = self.producer.list_topics(topic, timeout=left).topics[topic]
        except KafkaException:
            if count:  # what was true a moment ago beats standing still
                return count
            raise
        if (error := found.error) is not None:
            raise KafkaException(KafkaError(error.code(), f"{topic}: {error.str()}", error.fatal(), error.retriable()))
        self._counts[topic] = (len(found.partitions), self._clock())
        return len(found.partitions)
