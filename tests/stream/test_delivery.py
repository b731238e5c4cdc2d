"""The loop on a real Apache Kafka: one outcome for every event, in order, through stops and rebalances."""

from __future__ import annotations

import random
import time
import uuid

import pytest
from confluent_kafka import Producer

from consumer.records import Message, Outcome, Record
from tests.brokers import Kafka
from tests.stream.stage import PARTITIONS, Member, ShuffledWork, Stage, assert_each_once_and_in_order


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_every_event_has_one_outcome_in_order_through_a_stop_and_a_restart(kafka: Kafka, delivery: str) -> None:
    stage = Stage(kafka, delivery)
    stage.publish(600)
    first = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    stage.outcomes(at_least=100)
    first.stop()
    stage.publish(200)
    second = Member(stage.settings, ShuffledWork(stage.output, seed=2))
    outcomes = stage.outcomes(at_least=800)
    second.stop()
    assert_each_once_and_in_order(stage, outcomes)
    assert stage.committed() == 800 if delivery == "at-least-once" else stage.committed() >= 800


@pytest.mark.parametrize("assignor", ["cooperative-sticky", "range", "consumer protocol"])
def test_members_that_join_and_leave_lose_and_double_nothing(kafka: Kafka, assignor: str) -> None:
    new_protocol = {"KAFKA_GROUP_PROTOCOL": "consumer"}
    classic = {"KAFKA_PARTITION_ASSIGNMENT_STRATEGY": assignor}
    stage = Stage(kafka, "exactly-once", **(new_protocol if assignor == "consumer protocol" else classic))
    stage.publish(900)
    first = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    stage.outcomes(at_least=100)
    second = Member(stage.settings, ShuffledWork(stage.output, seed=2))
    stage.outcomes(at_least=400)
    first.stop()
    stage.publish(100)
    outcomes = stage.outcomes(at_least=1000)
    second.stop()
    assert_each_once_and_in_order(stage, outcomes)


def test_the_lag_is_zero_once_everything_is_committed_although_markers_follow_the_last_event(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once")
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": str(uuid.uuid4())})
    producer.init_transactions(10)
    producer.begin_transaction()
    for number in range(30):
        producer.produce(stage.input, key=b"k%d" % number, value=b"%d" % number)
    producer.commit_transaction(10)
    member = Member(stage.settings, ShuffledWork(stage.output, seed=3))
    stage.outcomes(at_least=30)
    deadline = time.monotonic() + 10
    lags: list[float | None] = []
    while time.monotonic() < deadline:
        labels = [{"topic": stage.input, "partition": str(p)} for p in range(PARTITIONS)]
        lags = [member.metrics.registry.get_sample_value("image_consumer_lag", one) for one in labels]
        if lags == [0.0] * PARTITIONS:
            break
        time.sleep(0.05)
    member.stop()
    assert lags == [0.0] * PARTITIONS


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_an_outcome_that_is_too_large_is_published_in_its_reduced_form_and_doubles_no_neighbour(
    kafka: Kafka, delivery: str
) -> None:
    stage = Stage(kafka, delivery)
    stage.publish(30)

    class LargeWork(ShuffledWork):
        def _echo(self, record: Record, pause: float) -> Outcome:
            small = super()._echo(record, pause)
            if record.value != b"11":
                return small
            large = Message(stage.output, record.key, random.Random(1).randbytes(2_500_000), (), 0)
            return Outcome("predicted", (large,), reduced=lambda: small)

    member = Member(stage.settings, LargeWork(stage.output, seed=4))
    outcomes = stage.outcomes(at_least=30)
    member.stop()
    assert_each_once_and_in_order(stage, outcomes)
