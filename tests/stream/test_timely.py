"""A call that librdkafka never ends, on three brokers of which one is stopped, or is away for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.stream import loop, unanswered
from consumer.stream.exactly_once import PROMPT_S, TransactionalPublisher
from consumer.stream.protocol import Publish, Result
from consumer.stream.source import Source
from consumer.stream.timely import TimelyProducer
from ops.local_kafka import LocalKafka
from tests.brokers import Kafka
from tests.stream.stage import Member, ShuffledWork, Stage, assert_each_once_and_in_order

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

BUDGET_S = 2.0


class Offsets:
    """What a publisher needs of a source; a group that nobody has joined lets anybody commit."""

    def __init__(self, consumer: Consumer) -> None:
        self.group_metadata = consumer.consumer_group_metadata
        self._consumer = consumer

    def committed(self, partitions: Iterable[int], timeout_s: float) -> Any:
        return self._consumer.committed([TopicPartition("handed-over", one) for one in partitions], timeout=timeout_s)

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


ATTEMPTS = 5


def waiting() -> int:
    """Threads that wait for librdkafka's answer, each with its producer."""
    return sum(thread.name == "offsets" for thread in threading.enumerate())


@pytest.fixture
def unreplicated_group(kafka: Kafka) -> Iterator[LocalKafka]:
    """Three brokers, of which one alone has a group's offsets. (`kafka` skips or fails where there is none.)"""
    with LocalKafka(brokers=3, properties={"offsets.topic.replication.factor": "1"}) as made:
        yield made


def test_while_only_the_coordinator_is_away_one_producer_waits_for_it_and_the_service_is_alive_and_not_ready(
    unreplicated_group: LocalKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "UNANSWERED_S", 0.5)
    monkeypatch.setattr(loop, "PUBLISH_BUDGET_S", 1.0)
    servers = unreplicated_group.bootstrap_servers
    stage = Stage(Kafka(servers, "local"), "exactly-once", KAFKA_GROUP_PROTOCOL="consumer")
    group = stage.settings.kafka.group_id
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    stage.publish(10)
    stage.outcomes(at_least=10)
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    described: Any = admin.describe_consumer_groups([group])[group].result(10)
    before = waiting()

    unreplicated_group.kill(described.coordinator.id)
    stage.publish(10)
    deadline = time.monotonic() + 60.0
    while (told := member.loop.status) is None or told.transactions.get("aborted", 0) < ATTEMPTS:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [one.name for one in member.health.ready().reasons] == ["brokers"]
    assert member.health.live().ok
    assert waiting() - before == 1

    unreplicated_group.start(described.coordinator.id)
    outcomes = stage.outcomes(at_least=20)
    member.stop()
    assert_each_once_and_in_order(stage, outcomes)
