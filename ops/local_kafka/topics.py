"""Topics, made so that whoever is told of one can use it at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic

QUIET = {
    "log_level": 0,  # refused connections are expected while a broker starts
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 100,
}
ASK_S = 1.0
"""How long one question to a broker may take before it is put again."""


def admin(bootstrap_servers: str) -> AdminClient:
    """An admin client that says nothing while a broker is away."""
    return AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})


def create_topic(bootstrap_servers: str, name: str, *, partitions: int = 1, replication: int = -1) -> None:
    """Makes a topic and waits until each of the brokers named knows a leader for every partition.

    ``replication`` of -1 is the broker's own default.

    Raises:
        KafkaException: the broker refused, for instance because the topic exists.
        TimeoutError: not all leaders are known after 30 s.
    """
    client = admin(bootstrap_servers)
    topic = NewTopic(name, num_partitions=partitions, replication_factor=replication)
    client.create_topics([topic], operation_timeout=30)[name].result(30)

    def led(metadata: ClusterMetadata) -> bool:
        known = metadata.topics[name].partitions.values()
        return len(known) == partitions and all(one.leader >= 0 for one in known)

    deadline = time.monotonic() + 30
    for server in bootstrap_servers.split(","):
        while not answers(server, led, topic=name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{server} knows no leader for every partition of {name} after 30 s")


def answers(server: str, condition: Callable[[ClusterMetadata], bool], topic: str | None = None) -> bool:
    """Asks one broker for metadata, and whether they meet the condition; False if it does not answer.

    A new client for each question: one that has learnt of the other brokers would ask any of them.
    """
    asker = admin(server)  # kept in a variable: a client without one is destroyed during its own call
    try:
        metadata = asker.list_topics(topic, timeout=ASK_S) if topic else asker.list_topics(timeout=ASK_S)
    except KafkaException:
        return False
    return condition(metadata)
