"""Rights that are missing or are taken away: the service ends with the right to grant, and nothing is lost."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from consumer.errors import BrokerError
from consumer.stream import clients, preflight
from ops.local_kafka import topics
from tests.brokers import Kafka
from tests.stream.stage import Member, ShuffledWork, Stage, assert_each_once_and_in_order

ALLOW, DENY = AclPermissionType.ALLOW, AclPermissionType.DENY


class Rules:
    """Takes one right away and leaves every other; gives it back."""

    def __init__(self, kafka: Kafka) -> None:
        self._admin = topics.admin(kafka.bootstrap_servers)  # kept: with the client goes its answer

    def forbid(self, kind: ResourceType, name: str, operation: AclOperation) -> None:
        rules = [_rule(kind, name, AclOperation.ALL, ALLOW), _rule(kind, name, operation, DENY)]
        for future in self._admin.create_acls(rules).values():
            future.result(10)
        self._wait_for(kind, name, denials=1)

    def allow(self, kind: ResourceType, name: str) -> None:
        for future in self._admin.delete_acls([_denials(kind, name)]).values():
            assert future.result(10)
        self._wait_for(kind, name, denials=0)

    def _wait_for(self, kind: ResourceType, name: str, denials: int) -> None:
        """The controller has it, and tells the broker a moment later."""
        while len(self._admin.describe_acls(_denials(kind, name)).result(10)) != denials:
            pass


def _denials(kind: ResourceType, name: str) -> AclBindingFilter:
    return AclBindingFilter(kind, name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY, DENY)


def _rule(kind: ResourceType, name: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    return AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, permission)


@pytest.fixture
def rules(own_kafka: Kafka) -> Rules:
    return Rules(own_kafka)


def member(stage: Stage, name: str | None = None) -> Member:
    return Member(stage.named(name) if name else stage.settings, ShuffledWork(stage.output, seed=1))


def test_all_rights_that_are_missing_at_start_are_named(own_kafka: Kafka, rules: Rules) -> None:
    stage = Stage(own_kafka, "exactly-once", DEAD_LETTER_TOPIC=own_kafka.unique_topic("dead"))
    group = stage.settings.kafka.group_id
    rules.forbid(ResourceType.TOPIC, stage.input, AclOperation.READ)
    rules.forbid(ResourceType.TOPIC, stage.output, AclOperation.WRITE)
    rules.forbid(ResourceType.TOPIC, stage.settings.dead_letter_topic, AclOperation.DESCRIBE)
    rules.forbid(ResourceType.GROUP, group, AclOperation.ALL)  # of one without members Read alone cannot be told
    admin = AdminClient(clients.admin_config(stage.settings, clients.Instance("a", stable=True)))
    with pytest.raises(BrokerError) as caught:
        preflight.check_rights(admin, stage.settings)
    assert str(caught.value) == (
        f"this user lacks Read on topic '{stage.input}', Write on topic '{stage.output}', "
        f"Write on topic '{stage.settings.dead_letter_topic}', Read on group '{group}': have it granted"
    )


def test_a_transactional_id_that_is_not_granted_is_told_at_start(own_kafka: Kafka, rules: Rules) -> None:
    stage = Stage(own_kafka, "exactly-once")
    rules.forbid(ResourceType.TRANSACTIONAL_ID, f"{stage.settings.kafka.group_id}-one", AclOperation.WRITE)
    with pytest.raises(BrokerError, match="grant Write on the transactional id"):
        member(stage, "one").join()


@pytest.mark.parametrize(
    ("right", "delivery", "told"),
    [
        ("output", "exactly-once", "not authorised to publish: .*grant Write on (topic {output}|the output topics)"),
        ("output", "at-least-once", "not authorised to publish: grant Write on topic {output}"),
        ("transactional id", "exactly-once", "grant Write on the transactional id"),
        ("group", "exactly-once", "grant Read on the (topic and on the )?group"),
        ("input", "exactly-once", "grant Read on the topic"),
    ],
)
def test_a_right_that_is_taken_away_ends_the_service_with_a_line_and_nothing_is_lost(
    own_kafka: Kafka, rules: Rules, right: str, delivery: str, told: str
) -> None:
    stage = Stage(own_kafka, delivery, KAFKA_SESSION_TIMEOUT_MS="2000")
    group = stage.settings.kafka.group_id
    kind, name, operation = {
        "output": (ResourceType.TOPIC, stage.output, AclOperation.WRITE),
        "input": (ResourceType.TOPIC, stage.input, AclOperation.READ),
        "group": (ResourceType.GROUP, group, AclOperation.READ),
        "transactional id": (ResourceType.TRANSACTIONAL_ID, f"{group}-one", AclOperation.WRITE),
    }[right]
    stage.publish(10)
    running = member(stage, "one")
    stage.outcomes(at_least=10)
    rules.forbid(kind, name, operation)
    stage.publish(10)
    with pytest.raises(BrokerError, match=told.format(output=stage.output)):
        running.join()
    rules.allow(kind, name)
    again = member(stage, "one")
    outcomes = stage.outcomes(at_least=20)
    again.stop()
    if delivery == "exactly-once":
        assert_each_once_and_in_order(stage, outcomes)
    else:
        assert {one.value for one in outcomes} == {value for _, value in stage.published}
