"""The embedded broker: a real round trip, from other clients than its own."""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from consumer.demo import EmbeddedBroker
from consumer.demo.broker import PARTITIONS


def test_what_is_published_is_read_back() -> None:
    with EmbeddedBroker(("urls",)) as broker:
        address = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 3}
        producer = Producer(address)
        for number in range(8):
            producer.produce("urls", key=f"k{number}", value=f"v{number}", partition=number % PARTITIONS)
        assert producer.flush(10) == 0
        reader = Consumer(address | {"group.id": "test"})
        reader.assign([TopicPartition("urls", partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
        read: dict[bytes | None, bytes | None] = {}
        until = time.monotonic() + 10
        while len(read) < 8 and time.monotonic() < until:
            message = reader.poll(0.5)
            if message is not None and message.error() is None:
                read[message.key()] = message.value()
        reader.close()
    assert read == {f"k{number}".encode(): f"v{number}".encode() for number in range(8)}


def test_every_topic_has_its_partitions() -> None:
    with EmbeddedBroker(("one", "two")) as broker:
        client = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 3})
        topics = client.list_topics(timeout=10).topics
        assert {"one", "two"} <= set(topics)
        assert all(len(topics[name].partitions) == PARTITIONS for name in ("one", "two"))


def test_closing_twice_does_nothing() -> None:
    broker = EmbeddedBroker()
    broker.close()
    broker.close()
    assert broker.bootstrap_servers.startswith("127.0.0.1:")
