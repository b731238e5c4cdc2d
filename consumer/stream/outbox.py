"""A producer, and what the broker said of each message that was handed to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer, murmur2

from consumer import records
from consumer.stream.protocol import Claim, Publish

Clock = Callable[[], float]
"""Monotonic seconds."""

STEP_S = 5.0
"""Longest that one call into librdkafka may take: signals and the budget are looked at in between."""

PARTITIONS_KNOWN_FOR_S = 300.0
"""How long a topic's number of partitions is believed: what Kafka's clients take by default."""

TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}


class Late(Exception):
    """The budget ended first."""


class Outbox:
    """Produces the messages of one publication after the other; reports of an earlier one are not mixed in."""

    def __init__(self, producer: Producer, clock: Clock) -> None:
        self.producer = producer
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
            Late: its queue stayed full, or the number of partitions unknown.
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
                self.producer.produce(
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
                    raise Late("the producer's queue stayed full") from None
                self.producer.poll(0.05)
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
            found = self.producer.list_topics(topic, timeout=STEP_S).topics[topic]
        except KafkaException:
            if count:  # what was true a moment ago beats standing still
                return count
            raise
        if found.error is not None:
            raise KafkaException(found.error)
        self._counts[topic] = (len(found.partitions), self._clock())
        return len(found.partitions)
