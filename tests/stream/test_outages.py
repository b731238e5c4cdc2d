"""A broker that is away or frozen, a topic that is gone: the service stays, says so, and goes on by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection

from consumer.stream import identity, loop, unanswered
from consumer.stream.timely import TimelyProducer
from ops.local_kafka import LocalKafka, topics
from tests.brokers import Kafka
from tests.stream.stage import IN_FLIGHT, GatedWork, Member, ShuffledWork, Stage, assert_each_once_and_in_order

SHORT = {"KAFKA_TRANSACTION_TIMEOUT_MS": "2000"}
AWAY_S = 2.0
"""With what passes before it is said, longer than a transaction; shorter than a session, which ends the wait too."""


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def waits_for_s(member: Member) -> float:
    """Since when it has said that the brokers take nothing; 0 if it does not."""
    return next((one.for_s for one in member.health.ready().reasons if one.name == "brokers"), 0.0)


def test_a_broker_that_was_away_or_frozen_costs_no_outcome_and_readiness_says_what_is_waited_for(
    own_broker: LocalKafka, own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "UNANSWERED_S", 0.5)
    monkeypatch.setattr(loop, "PUBLISH_BUDGET_S", 1.0)
    stages = [Stage(own_kafka, delivery, **SHORT) for delivery in ("exactly-once", "at-least-once")]
    works = [GatedWork(stage.output, seed=1) for stage in stages]
    running = [Member(stage.settings, work) for stage, work in zip(stages, works, strict=True)]
    for leave, come_back in ((own_broker.stop, own_broker.start), (own_broker.pause, own_broker.resume)):
        wait_for(lambda: not any(member.loop._core.held for member in running))  # what was lost is done once more
        for stage, work in zip(stages, works, strict=True):
            work.shut()
            stage.publish(2 * IN_FLIGHT)
            assert work.full.wait(20.0)
        leave()
        for work in works:
            work.gate.set()
        wait_for(lambda: all(waits_for_s(member) > AWAY_S for member in running))
        assert all(member.health.live().ok for member in running)
        come_back()
        wait_for(lambda: not any(waits_for_s(member) for member in running))
        found = [stage.outcomes(at_least=len(stage.published)) for stage in stages]
    assert [stage.members() for stage in stages] == [1, 1]
    for member in running:
        member.stop()
    assert_each_once_and_in_order(stages[0], found[0])
    assert {one.value for one in found[1]} == {value for _, value in stages[1].published}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_that_holds_no_partition_is_not_ready_while_the_broker_is_away_or_frozen(
    own_broker: LocalKafka, own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(identity, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(identity, "ASK_S", 1.0)
    topic = own_kafka.unique_topic("in", 1)
    stage = Stage(own_kafka, "exactly-once", INPUT_TOPIC=topic, KAFKA_GROUP_PROTOCOL=protocol)
    members = [Member(stage.settings, ShuffledWork(stage.output, seed=seed)) for seed in (1, 2)]
    wait_for(lambda: all(member.health.ready().ok for member in members))
    wait_for(lambda: sorted(len(member.loop._core.partitions) for member in members) == [0, 1])
    (idle,) = (member for member in members if not member.loop._core.partitions)
    for leave, come_back in ((own_broker.stop, own_broker.start), (own_broker.pause, own_broker.resume)):
        leave()
        wait_for(lambda: waits_for_s(idle) > 0)
        assert idle.health.live().ok
        come_back()
        wait_for(lambda: all(member.health.ready().ok for member in members))
    for member in members:
        member.stop()


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_clock_that_is_two_hours_ahead_publishes_nothing_until_it_is_right(
    own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, delivery: str
) -> None:
    ahead_s = [2 * 3600.0]

    def produce(producer: Producer, *given: Any, **more: Any) -> None:
        Producer.produce(producer, *given, **more, timestamp=int(1000 * (time.time() + ahead_s[0])))

    monkeypatch.setattr(TimelyProducer, "produce", produce)
    monkeypatch.setattr(unanswered, "UNANSWERED_S", 0.5)
    stage = Stage(own_kafka, delivery, **SHORT)
    stage.publish(20)
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    wait_for(lambda: waits_for_s(member) > AWAY_S)
    assert stage.committed() == 0
    assert "Invalid timestamp" in caplog.text or "clock ahead" in caplog.text  # of one outcome, or of several
    ahead_s[0] = 0.0
    outcomes = stage.outcomes(at_least=20)
    wait_for(lambda: member.health.ready().ok)
    member.stop()
    assert_each_once_and_in_order(stage, outcomes)


def test_an_output_topic_that_is_deleted_is_not_made_again_by_asking_and_is_waited_for(
    own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "UNANSWERED_S", 0.5)
    stage = Stage(own_kafka, "exactly-once", **SHORT)
    admin = topics.admin(own_kafka.bootstrap_servers)
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    stage.publish(10)
    stage.outcomes(at_least=10)
    admin.delete_topics([stage.output])[stage.output].result(10)
    stage.publish(10)
    wait_for(lambda: waits_for_s(member) > AWAY_S)
    with pytest.raises(KafkaException) as missing:
        admin.describe_topics(TopicCollection([stage.output]))[stage.output].result(10)
    assert missing.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    own_kafka.create_topic(stage.output, 3)
    outcomes = stage.outcomes(at_least=10)
    member.stop()
    assert sorted(int(one.value or b"") for one in outcomes) == list(range(10, 20))
