"""The model of Kafka is not a world of its own: the same plays, the same answers, on both."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from greenlet import getcurrent

from tests.brokers import Kafka
from tests.simulation import consumer, producer
from tests.simulation.agenda import Agenda
from tests.simulation.broker import Broker
from tests.simulation.dice import Dice
from tests.simulation.group import Assignor
from tests.simulation.instance import consumer_config
from tests.simulation.player import Player
from tests.simulation.process import Process
from tests.simulation.profiles import PROFILES
from tests.simulation.scenarios import SCENARIOS, Scenario

LARGEST, BROKER_LARGEST = 10_000, 5_000

AT_ONCE = 6
"""Plays on the one broker, each with topics and names of its own."""

Answers = list[tuple[str, str]]


class KafkaStage:
    """Apache Kafka, with topics and names of the scenario's own."""

    def __init__(self, kafka: Kafka) -> None:
        mark = uuid.uuid4().hex[:8]
        self.input, self.output = f"in-{mark}", f"out-{mark}"
        self._mark = mark
        self._servers = {"bootstrap.servers": kafka.bootstrap_servers}
        admin = AdminClient(self._servers)
        limits = {"max.message.bytes": str(BROKER_LARGEST)}
        made = admin.create_topics([NewTopic(self.input, 2, 1), NewTopic(self.output, 1, 1, config=limits)])
        for one in made.values():
            one.result(20)

    def producer(self, name: str, timeout_s: float) -> Any:
        return Producer(
            self._servers
            | {
                "transactional.id": f"{name}-{self._mark}",
                "transaction.timeout.ms": int(timeout_s * 1000),
                "message.max.bytes": LARGEST,
                "linger.ms": 0,
                "log_level": 0,
            }
        )

    def consumer(self, instance: str | None, assignor: Assignor = "range") -> Any:
        static = {"group.instance.id": f"{instance}-{self._mark}"} if instance else {}
        classic = {"partition.assignment.strategy": "range", "session.timeout.ms": 6000, "heartbeat.interval.ms": 200}
        return Consumer(
            self._servers
            | static
            | ({"group.protocol": "consumer"} if assignor == "consumer" else classic)
            | {
                "group.id": f"group-{self._mark}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )

    def nobody(self) -> Any:
        return self.consumer(None).consumer_group_metadata()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)  # the broker's own clock is what is waited for

    def now(self) -> float:
        return time.monotonic()

    def read(self) -> list[bytes]:
        reader = Consumer(
            self._servers
            | {"group.id": str(uuid.uuid4()), "isolation.level": "read_committed", "enable.partition.eof": True}
        )
        reader.assign([TopicPartition(self.output, 0, OFFSET_BEGINNING)])
        found: list[bytes] = []
        while True:
            message = reader.poll(10.0)
            assert message is not None, "the end of the partition was not reached"
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                break
            found.append(message.value())
        reader.close()
        return found


class ModelStage:
    """The simulated broker, where nothing goes wrong."""

    input, output = "in", "out"

    def __init__(self, assignor: Assignor) -> None:
        self._agenda = Agenda()
        self._dice = Dice(0, PROFILES["quiet"], self._agenda.clock)
        self._broker = Broker(self._agenda, self._dice, {"in": 2, "out": 1}, assignor)
        self._process: Process | None = None

    def run(self, scenario: Scenario) -> Answers:
        """Plays it in a process of its own, to the end."""
        answers: list[Answers] = []
        errors: list[BaseException | None] = []
        self._process = Process(
            "player",
            self._agenda,
            self._dice,
            lambda: answers.append(Player(self).play(scenario)),
            errors.append,
            hub=getcurrent(),
        )
        self._process.start()
        while not errors:
            assert self._agenda.step()
        if errors[0] is not None:
            raise errors[0]
        return answers[0]

    def producer(self, name: str, timeout_s: float) -> Any:
        return producer.Producer(
            self._own, self._broker, self._agenda, self._dice, name=name, timeout_s=timeout_s, largest=LARGEST,
            broker_largest=BROKER_LARGEST,
        )  # fmt: skip

    def consumer(self, instance: str | None, assignor: Assignor = "range") -> Any:
        config = consumer_config(assignor) | ({"group.instance.id": instance} if instance else {})
        return consumer.Consumer(self._own, self._broker, self._agenda, self._dice, config)

    def nobody(self) -> Any:
        return self.consumer(None).consumer_group_metadata()

    def wait(self, seconds: float) -> None:
        self._own.wait(seconds)

    def now(self) -> float:
        return self._agenda.now

    def read(self) -> list[bytes]:
        self._own.wait(0.1)
        return [entry.value or b"" for _, entry in self._broker.logs["out", 0].visible()]

    @property
    def _own(self) -> Process:
        assert self._process is not None
        return self._process


def _named(scenario: Scenario) -> str:
    return scenario.name.replace(" ", "_")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_named)
def test_the_model_answers_as_it_was_recorded(scenario: Scenario) -> None:
    assert list(scenario.steps) == ModelStage(scenario.assignor).run(scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_named)
def test_apache_kafka_answers_as_it_was_recorded(played: dict[str, Future[Answers]], scenario: Scenario) -> None:
    assert list(scenario.steps) == played[scenario.name].result()


@pytest.fixture(scope="module")
def played(kafka: Kafka, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Answers]]]:
    """The answers to every play that is asked for, `AT_ONCE` of them side by side: they wait most of the time.

    Those by heartbeats wait longest, so they begin first.
    """
    wanted = {item.name for item in request.session.items}
    with ThreadPoolExecutor(AT_ONCE) as stages:
        yield {
            scenario.name: stages.submit(_play, kafka, scenario)
            for scenario in sorted(SCENARIOS, key=lambda one: one.assignor != "consumer")
            if f"{test_apache_kafka_answers_as_it_was_recorded.__name__}[{_named(scenario)}]" in wanted
        }
        stages.shutdown(cancel_futures=True)


def _play(kafka: Kafka, scenario: Scenario) -> Answers:
    player = Player(KafkaStage(kafka))
    try:
        return player.play(scenario)
    finally:
        player.close()
