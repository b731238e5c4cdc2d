"""A broker that these tests may stop, freeze, and take rights away on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.local_kafka import LocalKafka, jars
from tests.brokers import Kafka
from tests.stream.stage import Stage

PROPERTIES = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # Everybody, the broker itself included, is ANONYMOUS, and may do what nobody has a rule for.
    "allow.everyone.if.no.acl.found": "true",
    "auto.create.topics.enable": "true",  # as brokers do by default: a question may make a topic
}


@pytest.fixture(scope="package")
def own_broker(kafka: Kafka) -> Iterator[LocalKafka]:
    """One for all tests of this folder; each makes topics of its own. (`kafka` skips or fails where there is none.)"""
    if reason := jars.why_not():
        pytest.skip(reason)
    with LocalKafka(properties=PROPERTIES) as made:
        Stage(Kafka(made.bootstrap_servers, "local"), "exactly-once").members()  # its coordinator has started
        yield made


@pytest.fixture
def own_kafka(own_broker: LocalKafka) -> Kafka:
    """The same, to make topics on."""
    return Kafka(own_broker.bootstrap_servers, "local")
