"""Membership on Apache Kafka: while the model loads, while everything is paused, while one stops."""

from __future__ import annotations

import threading

import pytest

from consumer.errors import ModelError
from consumer.signals import StopRequest
from tests.brokers import Kafka
from tests.stream.stage import GatedWork, Member, ShuffledWork, Stage, assert_each_once_and_in_order


def test_while_the_model_loads_the_service_is_no_member_of_its_group(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer import service

    stage = Stage(kafka, "exactly-once", HTTP_PORT="0", DEAD_LETTER_TOPIC=kafka.unique_topic("dead"))
    found: list[int] = []

    def load(_: object) -> None:
        found.append(stage.members())
        raise ModelError("seen enough")

    monkeypatch.setattr(service, "load_model", load)
    with service.Service(stage.settings) as made, pytest.raises(ModelError, match="seen enough"):
        made.start(StopRequest())
    assert found == [0]


def test_a_member_that_is_full_for_longer_than_a_session_keeps_its_partitions(kafka: Kafka) -> None:
    stage = Stage(
        kafka,
        "exactly-once",
        KAFKA_SESSION_TIMEOUT_MS="1500",
        KAFKA_MAX_POLL_INTERVAL_MS="2000",
    )
    stage.publish(500)
    work = GatedWork(stage.output, seed=1)
    member = Member(stage.settings, work)
    assert work.full.wait(20.0)
    threading.Event().wait(3.0)  # longer than either; the intake is paused, since 32 are in flight and 256 wait
    assert stage.members() == 1
    work.gate.set()
    outcomes = stage.outcomes(at_least=500)
    member.stop()
    assert_each_once_and_in_order(stage, outcomes)
    assert member.metrics.registry.get_sample_value("image_consumer_rebalances_total") == 1


def test_a_member_that_joins_while_another_drains_takes_over_without_a_loss_or_a_double(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once")
    stage.publish(300)
    work = GatedWork(stage.output, seed=1)
    first = Member(stage.settings, work)
    assert work.full.wait(20.0)
    first.loop.stop()
    second = Member(stage.settings, ShuffledWork(stage.output, seed=2))
    stage.outcomes(at_least=1)
    work.gate.set()
    first.stop()
    outcomes = stage.outcomes(at_least=300)
    second.stop()
    assert_each_once_and_in_order(stage, outcomes)
