"""A stage for the loop on Apache Kafka: topics of a test's own, members of a group, what a subscriber sees."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.health import Health
from consumer.metrics import Metrics
from consumer.records import Message, Outcome, Record
from consumer.settings import Settings
from consumer.stream import clients, preflight
from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.loop import StreamLoop
from consumer.stream.orphans import Orphans
from consumer.stream.publisher import make_publisher
from consumer.stream.source import Source
from ops.local_kafka import topics
from tests.brokers import Kafka

PARTITIONS = 3
IN_FLIGHT = 32


class ShuffledWork:
    """Echoes each event after a random short while, so that events finish in any order."""

    def __init__(self, topic: str, seed: int, longest_s: float = 0.02) -> None:
        self._topic = topic
        self._random = random.Random(seed)
        self._longest_s = longest_s
        self._threads = ThreadPoolExecutor(16)

    def submit(self, record: Record) -> Future[Outcome]:
        pause = self._random.uniform(0, self._longest_s)
        return self._threads.submit(self._echo, record, pause)

    def _echo(self, record: Record, pause: float) -> Outcome:
        threading.Event().wait(pause)  # work that takes time, as a fetch does
        return Outcome("predicted", (Message(self._topic, record.key, record.value, (), record.partition),))


class GatedWork(ShuffledWork):
    """Finishes nothing while its gate is shut, as it is at first."""

    def __init__(self, topic: str, seed: int) -> None:
        super().__init__(topic, seed)
        self.gate = threading.Event()
        self.full = threading.Event()
        self._begun = 0

    def submit(self, record: Record) -> Future[Outcome]:
        self._begun += 1
        if self._begun == IN_FLIGHT:
            self.full.set()
        return super().submit(record)

    def shut(self) -> None:
        """Once more, until `full`."""
        self._begun = 0
        self.full.clear()
        self.gate.clear()

    def _echo(self, record: Record, pause: float) -> Outcome:
        assert self.gate.wait(30.0)
        return super()._echo(record, pause)


class Member:
    """One instance of the loop on a thread of its own."""

    def __init__(self, settings: Settings, work: ShuffledWork) -> None:
        instance = clients.Instance.of(settings)
        consumer = clients.make_consumer(clients.consumer_config(settings, instance))
        identity = preflight.identity_of(AdminClient(clients.admin_config(settings, instance)), settings)
        source = Source(
            consumer,
            settings.input_topic,
            orphans=Orphans.of(settings, instance),
            identity=identity,
            strict=clients.is_strict(settings),
        )
        self.metrics = Metrics()
        self.health = Health(60.0)
        self.loop = StreamLoop(
            StreamCore(Limits(in_flight=IN_FLIGHT)),
            source,
            make_publisher(settings, instance, source),
            work,
            topic=settings.input_topic,
            drain_s=10.0,
            metrics=self.metrics,
            health=self.health,
        )
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.loop.stop()
        self.join()

    def join(self, within_s: float = 20.0) -> None:
        """Waits for its end; raises what ended it."""
        self.thread.join(within_s)
        assert not self.thread.is_alive()
        if self.error:
            raise self.error

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:  # noqa: BLE001 - raised again by `stop`
            self.error = error


COORDINATOR_STARTS = {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}
"""What a broker says that has just made the topic in which it keeps the groups."""


class Stage:
    """Topics of a test's own, what was published to them, and what a subscriber sees."""

    def __init__(self, kafka: Kafka, delivery: str, **more: str) -> None:
        self.input = kafka.unique_topic("in", PARTITIONS)
        self.output = kafka.unique_topic("out", PARTITIONS)
        self.bootstrap_servers = kafka.bootstrap_servers
        self.settings = Settings.from_env(
            {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "KAFKA_GROUP_ID": f"group-{uuid.uuid4()}",
                "INPUT_TOPIC": self.input,
                "OUTPUT_TOPIC": self.output,
                "DELIVERY": delivery,
                **more,
            }
        )
        self.published: list[tuple[bytes, bytes]] = []

    def named(self, name: str) -> Settings:
        """The settings of a member with a stable name."""
        return replace(self.settings, instance_id=name)

    def publish(self, count: int, partition: int = -1) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 1})
        for _ in range(count):
            number = len(self.published)
            key, value = b"key-%d" % (number % 17), b"%d" % number
            producer.produce(self.input, key=key, value=value, partition=partition)
            self.published.append((key, value))
        assert producer.flush(20) == 0

    @contextmanager
    def reader(self, isolation: str = "read_committed") -> Iterator[Callable[[], list[Message]]]:
        """Gives a function that reads what has come since; reads from the topic's beginning."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": f"reader-{uuid.uuid4()}",
                "isolation.level": isolation,
                "enable.auto.commit": False,
            }
        )
        consumer.assign([TopicPartition(self.output, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])

        def read() -> list[Message]:
            found = []
            while (message := consumer.poll(0.2)) is not None:
                if message.error() is None:
                    found.append(Message(self.output, message.key(), message.value(), (), message.partition()))
                else:
                    assert message.error().code() == KafkaError._PARTITION_EOF
            return found

        try:
            yield read
        finally:
            consumer.close()

    def outcomes(self, at_least: int, within_s: float = 60.0) -> list[Message]:
        """Everything in the output topic, once there is enough of it, and nothing more comes."""
        deadline = time.monotonic() + within_s
        with self.reader() as read:
            found: list[Message] = []
            while len(found) < at_least and time.monotonic() < deadline:
                found += read()
            return found + read()

    def committed(self) -> int:
        """The committed offsets of all partitions, added up."""
        return sum(max(0, one.offset) for one in self._committed())

    def marks(self) -> set[str]:
        """What stands beside the committed offsets."""
        return {one.metadata for one in self._committed() if one.offset >= 0}

    def members(self) -> int:
        """How many the group has."""
        admin = topics.admin(self.bootstrap_servers)  # kept: with the client goes its answer
        while True:
            answer = admin.describe_consumer_groups([self.settings.kafka.group_id])[self.settings.kafka.group_id]
            error = answer.exception(10)
            if error is None:
                return len(answer.result().members)
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # nobody has ever joined it
                return 0
            assert error.args[0].code() in COORDINATOR_STARTS

    def _committed(self) -> list[TopicPartition]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": self.settings.kafka.group_id})
        offsets: list[TopicPartition] = consumer.committed(
            [TopicPartition(self.input, p) for p in range(PARTITIONS)], timeout=10
        )
        consumer.close()
        return offsets


def assert_each_once_and_in_order(stage: Stage, outcomes: list[Message]) -> None:
    counts = Counter(message.value for message in outcomes)
    lost = [value for _, value in stage.published if not counts[value]]
    doubled = [value for value, count in counts.items() if count > 1]
    assert (lost, doubled) == ([], [])
    assert by_key(outcomes) == by_key_of(stage)


def by_key(outcomes: list[Message]) -> dict[bytes | None, list[bytes | None]]:
    found: dict[bytes | None, list[bytes | None]] = {}
    for message in outcomes:
        found.setdefault(message.key, []).append(message.value)
    return found


def by_key_of(stage: Stage) -> dict[bytes | None, list[bytes | None]]:
    return by_key([Message(stage.input, key, value, (), 0) for key, value in stage.published])
