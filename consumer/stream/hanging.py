"""Transactions that the brokers take for ended, and whose markers they never wrote.

When the only broker of a cluster is stopped, Apache Kafka (4.3.1) takes partitions without a leader for deleted, skips
their markers and counts the transaction as complete ("these partitions are likely deleted already and hence can be
skipped" in its log). It stays open in those partitions, and in the group's offsets, which then nobody is told: one of
four runs with two restarts under 100 events a second stood still for ever. (With this none of 21, in five of which
markers were skipped.)

Kafka's tool for it (`kafka-transactions.sh abort`, KIP-664) has the marker of an abort written there. A producer with
the same name can have that too, since markers go by its number: it ends a transaction of its own in all of those
partitions. Where all of its markers were skipped, as there, nobody has seen anything of the one that hangs, and its
offsets are not committed, so its events are worked on again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException, Producer, TopicPartition

KEY = b"image-consumer: to be aborted"
"""Of records that nobody sees: a topic that is compacted takes none without a key."""


def touch(producer: Producer, topics: Sequence[str], left_s: Callable[[], float]) -> None:
    """A record into every partition of these topics, in the transaction that is open and will be aborted.

    Args:
        left_s: tells how long this may still take, in seconds.

    Raises:
        KafkaException: the producer takes no record, or of one topic the brokers do not say how many partitions it
            has: the others are done.
        BufferError: it has no room for so many.
    """
    trouble: KafkaException | None = None
    for topic in topics:
        try:
            found = producer.list_topics(topic, timeout=max(0.1, left_s())).topics[topic]
        except KafkaException as error:
            trouble = error
            continue
        if found.error is not None:
            trouble = KafkaException(found.error)
            continue
        for partition in found.partitions:
            producer.produce(topic, key=KEY, value=b"", headers=[], partition=partition, on_delivery=lambda *_: None)
    producer.flush(max(0.0, left_s()))
    if trouble is not None:
        raise trouble


def harmless(topics: Sequence[str]) -> list[TopicPartition]:
    """An offset to hand over with them, which brings the group's offsets into the transaction: of a topic that is not
    read, so that it does no harm should a request of it come late."""
    return [TopicPartition(topics[0], 0, 0)]
