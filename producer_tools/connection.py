"""How the tools reach the brokers: the service's own settings, its checks and its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer, Producer

from consumer.errors import SettingsError
from consumer.kafka_settings import EMBEDDED
from consumer.logs import kafka_logger
from consumer.settings import Settings
from consumer.stream import preflight
from consumer.stream.clients import Troubles, make_consumer, make_producer


def settings_with(bootstrap_servers: str | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the environment, with other brokers if some are given.

    Raises:
        SettingsError: a variable is wrong, or no broker is named where one is needed.
    """
    settings = Settings.from_env(environ)
    if bootstrap_servers is not None:
        common = {**settings.kafka.common, "bootstrap.servers": bootstrap_servers}
        settings = replace(settings, kafka=replace(settings.kafka, common=common))
    if settings.kafka.bootstrap_servers == EMBEDDED:
        raise SettingsError(
            "the embedded broker lives in the service: give the address that it logged as --bootstrap-servers"
        )
    return settings


def open_consumer(settings: Settings, topic: str) -> tuple[Consumer, Troubles, int]:
    """A consumer that belongs to no group, what it complains about, and the topic's number of partitions.

    Raises:
        BrokerError: no broker answers within 10 s, or it has no such topic for us.
        SettingsError: librdkafka refuses a property.
    """
    troubles = Troubles("consumer")
    defaults = _common(settings, troubles) | {
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,  # asking must not make the topic
        "fetch.wait.max.ms": 100,
    }
    # Partitions are assigned by hand and nothing is committed, so the group is a name that is never joined.
    consumer = make_consumer(defaults | settings.kafka.for_consumer() | {"group.id": "image-tools"})
    try:
        preflight.reach(consumer, troubles, settings)
        return consumer, troubles, preflight.partitions_of(consumer, topic, "--topic", settings)
    except BaseException:  # Ctrl-C too: it is raised again, and the consumer has left
        consumer.close()
        raise


def open_producer(settings: Settings, topic: str) -> Producer:
    """A producer that puts keys where Java clients do and doubles nothing when it tries again.

    Raises:
        BrokerError: no broker answers within 10 s, or it has no such topic for us.
        SettingsError: librdkafka refuses a property.
    """
    consumer, _, _ = open_consumer(settings, topic)  # asks in our place: a producer's question makes the topic
    consumer.close()
    defaults = _common(settings, Troubles("producer")) | {
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 20,
        "compression.type": "lz4",
        "message.timeout.ms": 30_000,  # of 300 s: a person is waiting
        "message.max.bytes": 2 * 2**20,  # of 1 MB: how large an event may be is for the brokers to say
    }
    return make_producer(defaults | settings.kafka.for_producer(transactional=False))


def _common(settings: Settings, troubles: Troubles) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        "client.id": "image-tools",
        "logger": kafka_logger(),  # or it writes to stderr, into our output
        "error_cb": troubles,
    }
