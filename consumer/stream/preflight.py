"""What can be known about the brokers before the service joins: reachable, topics there, rights granted.

Every finding is a `BrokerError` in one line that says what is wrong and what to do.
"""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from consumer.errors import BrokerError
from consumer.settings import Settings
from consumer.stream.clients import UNHURRIED_S, Troubles
from consumer.stream.identity import TopicIdentity

log = logging.getLogger(__name__)

REACH_S = 10.0
"""How long a broker may take to answer at start."""


def reach(client: Any, troubles: Troubles, settings: Settings) -> list[tuple[str, int]]:
    """Asks for the cluster's metadata with any client.

    Returns:
        Host and port of each broker.

    Raises:
        BrokerError: nobody answers; names the last thing that the client complained about.
    """
    at = settings.kafka.bootstrap_servers
    try:
        return [(broker.host, broker.port) for broker in client.list_topics(timeout=REACH_S).brokers.values()]
    except KafkaException as error:
        client.poll(0)  # hands the client's complaints to `troubles`
        cause = troubles.last or error.args[0].str()
        what = "start one, or set KAFKA_BOOTSTRAP_SERVERS"
        if "uthentication" in cause or "SASL" in cause or "SSL" in cause:
            what = "check KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_… and KAFKA_SSL_…"
        raise BrokerError(f"no broker answers at {at} ({cause}): {what}") from None


def brokers_told(brokers: list[tuple[str, int]]) -> str:
    """How many there are, in words."""
    return "1 broker" if len(brokers) == 1 else f"{len(brokers)} brokers"


def partitions_of(client: Any, topic: str, variable: str, settings: Settings) -> int:
    """How many partitions a topic has. ``client`` must be a consumer: a producer's question may make the topic.

    Raises:
        BrokerError: the topic does not exist, or may not be seen.
    """
    try:
        found = client.list_topics(topic, timeout=REACH_S).topics[topic]
    except KafkaException as error:
        raise BrokerError(f"topic {topic!r} could not be looked up: {error.args[0].str()}") from None
    if found.error is None and found.partitions:
        return len(found.partitions)
    at = settings.kafka.bootstrap_servers
    if found.error is not None and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise BrokerError(f"topic {topic!r} may not be seen by this user: grant Describe on it, or set {variable}")
    raise BrokerError(
        f"topic {topic!r} does not exist at {at}: set {variable}, or make it, for example with "
        f"kafka-topics.sh --bootstrap-server {at} --create --topic {topic} --partitions 6"
    )


def topics_of(settings: Settings) -> dict[str, str]:
    """The variable → the topic that it names."""
    return {
        "INPUT_TOPIC": settings.input_topic,
        "OUTPUT_TOPIC": settings.output_topic,
        "DEAD_LETTER_TOPIC": settings.dead_letter_topic,
    }


def identity_of(admin: AdminClient, settings: Settings) -> TopicIdentity | None:
    """The input topic's id; null, and a line in the log, if the broker does not tell."""
    try:
        return TopicIdentity(admin, settings.input_topic)
    except KafkaException as error:
        log.warning(
            "topic %s could not be described, so that it would not be noticed if it were deleted and made again: %s",
            settings.input_topic,
            error.args[0].str(),
        )
        return None


def check_rights(admin: AdminClient, settings: Settings) -> None:
    """Says which rights this user lacks, before the first outcome is refused.

    Args:
        admin: not to be kept: a question that is still out ends with it (`consumer.stream.clients.UNHURRIED_S`).

    Raises:
        BrokerError: a right is missing.
        KafkaException: the broker does not say.
    """
    missing = missing_rights(admin, settings)
    if missing:
        raise BrokerError(f"this user lacks {', '.join(missing)}: have it granted")


def missing_rights(admin: AdminClient, settings: Settings) -> list[str]:
    """The rights that this user lacks, in words; empty if nothing is missing.

    Raises:
        KafkaException: the broker does not say (the embedded one does not know the question).
    """
    needed = {
        settings.input_topic: AclOperation.READ,
        settings.output_topic: AclOperation.WRITE,
        settings.dead_letter_topic: AclOperation.WRITE,
    }
    missing = []
    answers = admin.describe_topics(
        TopicCollection(list(needed)), include_authorized_operations=True, request_timeout=REACH_S
    )
    for topic, answer in answers.items():
        try:
            granted = answer.result().authorized_operations
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            granted = [AclOperation.UNKNOWN]  # it may not even be seen
        if needed[topic] not in (granted or [needed[topic]]):
            missing.append(f"{needed[topic].name.title()} on topic {topic!r}")
    group = settings.kafka.group_id
    answer = admin.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=UNHURRIED_S)[
        group
    ]
    try:
        described = answer.result(REACH_S)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the group's coordinator does not answer")) from None
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return missing  # a group that nobody joined yet: brokers from 4.0 on say so
        if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return [*missing, f"Read on group {group!r}"]
        raise
    known = described.state is not ConsumerGroupState.DEAD and described.authorized_operations
    if known and AclOperation.READ not in described.authorized_operations:
        missing.append(f"Read on group {group!r}")
    return missing
