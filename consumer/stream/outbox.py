"""A producer, and what the broker said of each message that was handed to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer, murmur2

from consumer import records
from consumer.errors import BrokerError
from consumer.stream.protocol import Claim, Publish, Published, Result

Clock = Callable[[], float]
"""Monotonic seconds."""

STEP_S = 5.0
"""Longest that one call into librdkafka may take: signals and the budget are looked at in between."""

PARTITIONS_KNOWN_FOR_S = 300.0
"""How long a topic's number of partitions is believed: what Kafka's clients take by default."""

PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
"""What an abort, or letting a producer go, says of messages that were not acknowledged yet."""

TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}


class Late(Exception):
    """The budget ended first."""


@dataclass(slots=True)
class _Attempt:
    """What the broker has said of the messages of one attempt.

    Librdkafka keeps it until every message is told of, and nobody polls a producer that was let go. So it must
    not hold the producer, which could never be destroyed: its threads and sockets would stay.
    """

    alone: set[Claim] = field(default_factory=set)
    """The claims whose messages are sent in batches of their own."""
    pending: int = 0
    """Messages that are not acknowledged."""
    rejected: set[Claim] = field(default_factory=set)
    suspects: set[Claim] = field(default_factory=set)
    refusals: list[KafkaError] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)

    def delivered(self, claim: Claim, error: KafkaError | None, message: Message) -> None:
        """The client's report of one message."""
        if error is None:
            self.pending -= 1
        elif error.code() in TOO_LARGE:
            (self.rejected if claim in self.alone else self.suspects).add(claim)
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self.forbidden.add(message.topic())
        elif error.code() not in PURGED:  # which says nothing of the message; it stays pending, since it is not out
            self.refusals.append(error)


class Outbox:
    """Produces the messages of one publication after the other; reports of an earlier one are not mixed in.

    A message that is larger than its topic allows takes its whole batch with it: the broker refuses them all
    alike. So the next attempt sends each of the refused ones in a batch of its own, which names the culprit.

    Args:
        clock: monotonic seconds.
        suspects: the refused ones of the last attempt; kept by the caller, since it may need a new producer.
    """

    def __init__(self, producer: Producer, clock: Clock, suspects: set[Claim]) -> None:
        self.producer = producer
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._suspects = suspects
        self._attempt = _Attempt()

    def put(self, publication: Publish, deadline: float) -> None:
        """Hands every message to the producer, up to the first that is known to be too large.

        Raises:
            KafkaException: the producer refused a message for another reason.
            Late: its queue stayed full, or the number of partitions unknown.
        """
        self._attempt = _Attempt(alone=set(self._suspects))
        self._suspects.clear()
        for claim, outcome in zip(publication.claims, publication.outcomes, strict=True):
            for message in outcome.messages:
                if not self._put(claim, message, deadline):
                    return

    def flush(self, deadline: float) -> None:
        """Waits until all is acknowledged or refused, but no longer than this."""
        self.producer.flush(max(0.0, deadline - self._clock()))

    @property
    def failed(self) -> bool:
        """Whether the broker, or the producer, has refused any message of this attempt, as far as it was heard."""
        told = self._attempt
        return bool(told.rejected or told.suspects or told.refusals or told.forbidden)

    def answer(self) -> Published | None:
        """What became of the attempt, as far as the broker has told; null if every message is acknowledged.

        Raises:
            BrokerError: this user may not write there.
        """
        told = self._attempt
        if told.forbidden:
            topics = ", ".join(sorted(told.forbidden))
            raise BrokerError(f"not authorised to publish: grant Write on topic {topics} to this service's user")
        if not told.rejected and len(told.suspects) == 1:
            told.rejected, told.suspects = told.suspects, set()
        if told.rejected:
            return Published(Result.ABORTED, "outcomes too large", tuple(told.rejected))
        if told.suspects:
            self._suspects |= told.suspects
            return Published(Result.ABORTED, f"one of {len(told.suspects)} outcomes in a batch is too large")
        if told.refusals:
            return Published(Result.ABORTED, told.refusals[0].str())
        if told.pending:  # an empty queue is no proof: only acknowledgements count
            return Published(Result.ABORTED, f"{told.pending} messages were not acknowledged in time")
        return None

    def partition_of(self, message: records.Message, deadline: float = math.inf) -> int:
        """Where Java clients put this key; without a key, what keeps the source's order."""
        count = self._count(message.topic, deadline)
        if message.key is None:
            return message.keyless_partition % count
        return int(murmur2(message.key, count))

    def _put(self, claim: Claim, message: records.Message, deadline: float) -> bool:
        """False if nothing more should be put, since the attempt has failed already."""
        if claim in self._attempt.alone:
            self._send_all(deadline)
        while True:
            try:
                self.producer.produce(
                    message.topic,
                    key=message.key,
                    value=message.value,
                    headers=list(message.headers),
                    partition=self.partition_of(message, deadline),
                    on_delivery=partial(self._attempt.delivered, claim),
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
            self._attempt.pending += 1
            if claim in self._attempt.alone:
                self._send_all(deadline)
            return not self._attempt.rejected

    def _send_all(self, deadline: float) -> None:
        self.flush(deadline)
        if len(self.producer):
            raise Late("a message was not acknowledged in time")

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
        if found.error is not None:
            raise KafkaException(found.error)
        self._counts[topic] = (len(found.partitions), self._clock())
        return len(found.partitions)
