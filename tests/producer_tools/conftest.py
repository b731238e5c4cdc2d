"""A broker for the tools' tests, and a way to call them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from consumer.demo import EmbeddedBroker
from consumer.demo.broker import PARTITIONS
from consumer.records import Message, Record
from producer_tools.cli import main

TOPICS = tuple(f"topic-{number}" for number in range(40))


@dataclass(frozen=True)
class Broker:
    """The embedded broker with one topic that no other test uses."""

    address: str
    topic: str

    def read(self, count: int) -> list[Record]:
        """The first ``count`` records of the topic, or fewer if no more come for 5 s."""
        reader = Consumer({"bootstrap.servers": self.address, "group.id": "reader", "fetch.wait.max.ms": 10})
        reader.assign([TopicPartition(self.topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        records: list[Record] = []
        while len(records) < count and (message := reader.poll(5.0)):
            records.append(
                Record(
                    self.topic,
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                )
            )
        reader.close()
        return records

    def write(self, *messages: Message) -> None:
        """Puts outcomes into the topic, each into its ``keyless_partition``."""
        producer = Producer({"bootstrap.servers": self.address})
        for message in messages:
            producer.produce(self.topic, message.value, message.key, message.keyless_partition)
        assert producer.flush(10) == 0


@pytest.fixture(scope="session")
def _address() -> Iterator[str]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker.bootstrap_servers


@pytest.fixture(scope="session")
def _topics() -> Iterator[str]:
    return iter(TOPICS)


@pytest.fixture
def broker(_address: str, _topics: Iterator[str]) -> Broker:
    """The broker with a topic of the test's own."""
    return Broker(_address, next(_topics))


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def tools(capsys: pytest.CaptureFixture[str], broker: Broker) -> Callable[..., Result]:
    """Calls ``image-tools COMMAND --bootstrap-servers … --topic … ARGUMENTS``."""

    def call(command: str, *arguments: str) -> Result:
        where = ("--bootstrap-servers", broker.address, "--topic", broker.topic)
        code = main([command, *where, *arguments])
        return Result(code, *capsys.readouterr())

    return call
