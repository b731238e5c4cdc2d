"""A broker with an authoriser, and one that goes away: what is told, what ends, and what goes on by itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from consumer.errors import BrokerError
from consumer.stream import clients, preflight
from ops.local_kafka import LocalKafka, jars, topics
from tests.brokers import Kafka
from tests.stream.stage import Member, ShuffledWork, Stage, assert_each_once_and_in_order

AWAY_S = 15.0
"""Longer than a session (10 s) and a transaction (10 s)."""

GUARDED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # Everybody, the broker itself included, is ANONYMOUS, and may do what nobody has a rule for.
    "allow.everyone.if.no.acl.found": "true",
}


@pytest.fixture(scope="module")
def broker(kafka: Kafka) -> Iterator[LocalKafka]:  # `kafka` skips or fails where there is none
    if reason := jars.why_not():
        pytest.skip(reason)
    with LocalKafka(properties=GUARDED) as made:
        yield made


@pytest.fixture
def guarded(broker: LocalKafka) -> Kafka:
    return Kafka(broker.bootstrap_servers, "local")


def forbid(kafka: Kafka, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Takes one right away and leaves every other."""

    def rule(what: AclOperation, permission: AclPermissionType) -> AclBinding:
        return AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", what, permission)

    rules = [rule(AclOperation.ALL, AclPermissionType.ALLOW), rule(operation, AclPermissionType.DENY)]
    for future in topics.admin(kafka.bootstrap_servers).create_acls(rules).values():
        future.result()


def member(stage: Stage, name: str | None = None) -> Member:
    return Member(stage.named(name) if name else stage.settings, ShuffledWork(stage.output, seed=1))


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ("output", "Write on topic '{output}'"),
        ("input", "Read on topic '{input}'"),
        ("group", "Read on group '{group}'"),
    ],
)
def test_a_right_that_is_missing_at_start_is_named(guarded: Kafka, right: str, told: str) -> None:
    stage = Stage(guarded, "exactly-once")
    group = stage.settings.kafka.group_id
    match right:
        case "output":
            forbid(guarded, ResourceType.TOPIC, stage.output, AclOperation.WRITE)
        case "input":
            forbid(guarded, ResourceType.TOPIC, stage.input, AclOperation.READ)
        case "group":
            forbid(guarded, ResourceType.GROUP, group, AclOperation.READ)
    admin = AdminClient(clients.admin_config(stage.settings, clients.Instance("a", stable=True)))
    with pytest.raises(BrokerError) as caught:
        preflight.check_rights(admin, stage.settings)
    expected = told.format(input=stage.input, output=stage.output, group=group)
    assert str(caught.value) == f"this user lacks {expected}: have it granted"


def test_a_transactional_id_that_is_not_granted_is_told_at_start(guarded: Kafka) -> None:
    stage = Stage(guarded, "exactly-once")
    identity = f"{stage.settings.kafka.group_id}-one"
    forbid(guarded, ResourceType.TRANSACTIONAL_ID, identity, AclOperation.WRITE)
    with pytest.raises(BrokerError, match="grant Write on the transactional id"):
        member(stage, "one").join()


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_the_right_to_write_that_is_taken_away_at_run_time_ends_the_service_with_a_line(
    guarded: Kafka, delivery: str
) -> None:
    stage = Stage(guarded, delivery)
    stage.publish(10)
    running = member(stage)
    stage.outcomes(at_least=10)
    forbid(guarded, ResourceType.TOPIC, stage.output, AclOperation.WRITE)
    stage.publish(10)
    with pytest.raises(BrokerError, match=f"not authorised to publish: grant Write on topic {stage.output}"):
        running.join()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (ResourceType.TRANSACTIONAL_ID, "grant Write on the transactional id"),
        (ResourceType.GROUP, "grant Read on the (topic and on the )?group"),
    ],
)
def test_any_other_right_that_is_taken_away_at_run_time_ends_the_service_with_a_line(
    guarded: Kafka, kind: ResourceType, told: str
) -> None:
    stage = Stage(guarded, "exactly-once")
    stage.publish(10)
    running = member(stage, "one")
    stage.outcomes(at_least=10)
    group = stage.settings.kafka.group_id
    if kind is ResourceType.GROUP:
        forbid(guarded, kind, group, AclOperation.READ)
    else:
        forbid(guarded, kind, f"{group}-one", AclOperation.WRITE)
    stage.publish(10)
    with pytest.raises(BrokerError, match=told):
        running.join()


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_broker_that_was_away_is_gone_on_with_and_told_of_sparingly(
    broker: LocalKafka, guarded: Kafka, caplog: pytest.LogCaptureFixture, delivery: str
) -> None:
    stage = Stage(guarded, delivery)
    stage.publish(200)
    running = Member(stage.settings, ShuffledWork(stage.output, seed=1, longest_s=0.2))
    stage.outcomes(at_least=20)
    caplog.clear()
    broker.stop()
    threading.Event().wait(AWAY_S)
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    broker.start()
    stage.publish(50)
    outcomes = stage.outcomes(at_least=250)
    running.stop()
    if delivery == "exactly-once":
        assert_each_once_and_in_order(stage, outcomes)
    else:
        assert {one.value for one in outcomes} == {value for _, value in stage.published}
    assert told, "nobody says that the broker is away"
    assert len(told) <= 6, "one line for each client and each trouble, not one for each attempt"


def test_a_stop_while_the_broker_is_away_is_a_stop_as_asked(broker: LocalKafka, guarded: Kafka) -> None:
    stage = Stage(guarded, "exactly-once")
    stage.publish(20)
    running = member(stage)
    stage.outcomes(at_least=20)
    broker.stop()
    try:
        running.stop()
    finally:
        broker.start()
