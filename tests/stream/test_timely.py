"""A call that librdkafka never ends, on three brokers of which one is stopped as for an upgrade."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.stream.exactly_once import PROMPT_S, TransactionalPublisher
from consumer.stream.protocol import Publish, Result
from consumer.stream.source import Source
from consumer.stream.timely import TimelyProducer
from ops.local_kafka import LocalKafka

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

BUDGET_S = 2.0


class Offsets:
    """What a publisher needs of a source; a group that nobody has joined lets anybody commit."""

    def __init__(self, consumer: Consumer) -> None:
        self.group_metadata = consumer.consumer_group_metadata

    def positions(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition("handed-over", partition, offset) for partition, offset in offsets.items()]


@pytest.fixture
def cluster(kafka_cluster: LocalKafka) -> Iterator[LocalKafka]:
    kafka_cluster.create_topic("handed-over")
    yield kafka_cluster
    kafka_cluster.start()


def test_a_coordinator_that_has_left_the_cluster_costs_one_publication_its_budget_and_no_more(
    cluster: LocalKafka,
) -> None:
    common: dict[str, Any] = {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}
    made: list[TimelyProducer] = []

    def make() -> TimelyProducer:
        made.append(TimelyProducer(common | {"transactional.id": "left-behind", "transaction.timeout.ms": 10_000}))
        return made[-1]

    source = cast("Source", Offsets(Consumer(common | {"group.id": "left-behind"})))
    publisher = TransactionalPublisher(make, source, stable_name=False, transaction_timeout_s=10.0)
    publisher.start(30)

    def publish(offset: int) -> tuple[Result, float]:
        began = time.monotonic()
        answer = publisher.publish(Publish(claims=(), outcomes=(), offsets={0: offset}), BUDGET_S)
        return answer.result, time.monotonic() - began

    while publish(1)[1] > PROMPT_S:  # so that its producer is kept, which knows the coordinator now
        pass
    admin = AdminClient(common)  # which is kept: what a client was asked is forgotten with it
    described: Any = admin.describe_consumer_groups(["left-behind"])["left-behind"].result(10)
    coordinator = described.coordinator.id
    cluster.stop(coordinator)
    while coordinator in made[-1].list_topics(timeout=10).brokers:
        pass

    result, took_s = publish(2)
    assert result is Result.ABORTED
    assert BUDGET_S <= took_s < BUDGET_S + 1.5
    assert publish(2)[0] is Result.COMMITTED
