"""At-least-once: an outcome counts as published only if the broker has acknowledged it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.demo.broker import EmbeddedBroker
from consumer.records import Message, Outcome
from consumer.stream.at_least_once import PlainPublisher
from consumer.stream.protocol import Claim, Publish, Result
from consumer.stream.source import Source


class Offsets:
    """Stands for the source: remembers what was committed, or fails for a while."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self.failing = False

    def partitions(self) -> set[int]:
        return {0}

    def commit(self, offsets: Mapping[int, int]) -> None:
        if self.failing:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        self.committed |= offsets


class PurgedProducer(Producer):
    """A purge hits it while its messages are still queued."""

    def flush(self, timeout: float = -1) -> int:
        self.purge()
        return int(super().flush(timeout))


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(("out",)) as made:
        yield made


def publisher(broker: EmbeddedBroker, offsets: Offsets, kind: type[Producer] = Producer) -> PlainPublisher:
    config = {"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 500 if kind is PurgedProducer else 0}
    made = PlainPublisher(lambda: kind(config), cast(Source, offsets), largest=1_000_000)
    made.start(1.0)
    return made


def publication(value: bytes = b"x", offset: int = 0) -> Publish:
    outcome = Outcome("predicted", (Message("out", b"key", value, (), 0),))
    return Publish((Claim(0, 1, offset),), (outcome,), {0: offset + 1})


def test_what_the_broker_acknowledged_is_committed(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    assert publisher(broker, offsets).publish(publication(), 10.0).result is Result.COMMITTED
    assert offsets.committed == {0: 1}


def test_a_message_that_was_purged_is_not_out_although_nothing_is_queued_any_more(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    answer = publisher(broker, offsets, PurgedProducer).publish(publication(), 10.0)
    assert answer.result is Result.ABORTED
    assert offsets.committed == {}


def test_a_message_that_is_too_large_is_named_before_anything_is_sent(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    answer = publisher(broker, offsets).publish(publication(bytes(2_000_000)), 10.0)
    assert (answer.result, answer.rejected) == (Result.ABORTED, (Claim(0, 1, 0),))
    assert offsets.committed == {}


def test_a_commit_that_failed_is_owed_and_made_at_the_end(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    offsets.failing = True
    made = publisher(broker, offsets)
    assert made.publish(publication(), 10.0).result is Result.COMMITTED
    offsets.failing = False
    made.close(1.0)
    assert offsets.committed == {0: 1}
