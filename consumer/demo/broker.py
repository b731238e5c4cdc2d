"""A Kafka broker inside this process, for the demo and for ``KAFKA_BOOTSTRAP_SERVERS=embedded``.

It is librdkafka's mock cluster: one broker that speaks the real protocol on a free port of 127.0.0.1, so
other processes can publish and read. A try-out, never a store: a partition keeps 5 MiB and the oldest
records go silently, and transactions are accepted without their meaning (offsets sent in one are thrown
away), so it is used at-least-once.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, Producer

from consumer.errors import BrokerError

PARTITIONS = 4
"""How many partitions each topic has: the mock cluster's own number, which cannot be set from Python."""

_TIMEOUT_S = 10.0  # it answers within milliseconds, even on a busy machine

_log = logging.getLogger(__name__)


class EmbeddedBroker:
    """The broker with its topics, from construction to `close`; also a context manager.

    Close it after every client that speaks to it: a client whose broker has gone complains.

    Raises:
        BrokerError: the broker did not come up, or a topic did not get its partitions.
    """

    def __init__(self, topics: tuple[str, ...] = ()) -> None:
        # Any client hosts the cluster, but only a producer's question makes a topic: there is no
        # CreateTopics, so an admin client would time out, and a consumer is told "unknown topic".
        # With a logger, librdkafka's lines wait for poll() instead of going to stderr; from level 3 (error)
        # on, because at start it would say that bootstrap.servers is ignored, which is what we want.
        self._host = Producer({"test.mock.num.brokers": 1, "log_level": 3}, logger=_log)
        self._closed = False
        try:
            for topic in topics:
                self._make(topic)
            (broker,) = self._host.list_topics(timeout=_TIMEOUT_S).brokers.values()
        except KafkaException as error:
            self.close()
            raise BrokerError(f"the embedded broker did not start: {error.args[0].str()}") from error
        except BrokerError:
            self.close()
            raise
        self._address = f"{broker.host}:{broker.port}"

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:PORT``."""
        return self._address

    def _make(self, topic: str) -> None:
        answer = self._host.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if answer.error is not None or len(answer.partitions) != PARTITIONS:
            why = answer.error.str() if answer.error else f"it has {len(answer.partitions)} partitions"
            raise BrokerError(f"the embedded broker did not make topic {topic!r}: {why}")

    def close(self) -> None:
        """Ends the broker and all that it holds. Once is enough; again does nothing."""
        if not self._closed:
            self._closed = True
            self._host.poll(0)  # hands its last log lines to the logger
            self._host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
