"""Every case of the corpus through the topic, each with its outcome, and good pictures in between untouched."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from consumer.codec import EVENT_MAX_BYTES, decode_prediction
from consumer.decoding import process
from consumer.kafka_settings import KafkaSettings
from ops.local_kafka.ports import free_ports
from tests.brokers import Kafka
from tests.decoding import sabotage
from tests.fetching.server import ok
from tests.hostile import events
from tests.hostile.measuring import PREDICTED
from tests.hostile.running import DEADLINE_S, Sent, Servers, running, settings_for, wrong

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("replacements")]

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Topics:
    """The service's, on Apache Kafka; ``own`` and ``broker`` are ports that it must not fetch from."""

    kafka: Kafka
    input: str
    output: str
    dead: str
    own: int
    broker: int

    def publish(self, values: Iterable[bytes | None]) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers})
        told: list[KafkaError | None] = []
        for number, value in enumerate(values):
            producer.produce(self.input, value, str(number), on_delivery=lambda error, _: told.append(error))
        assert producer.flush(30) == 0
        assert set(told) == {None}

    def read(self, topic: str, count: int, seconds: float = 60.0) -> list[Message]:
        """Committed messages of a topic, once there are so many, or what there is after so long."""
        servers, group = self.kafka.bootstrap_servers, str(uuid.uuid4())
        consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "isolation.level": "read_committed"})
        consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in range(PARTITIONS)])
        found: list[Message] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append(message)
        consumer.close()
        return found


@contextmanager
def serving(hostile: Servers, kafka: Kafka, deadline_s: float = DEADLINE_S) -> Iterator[Topics]:
    """The service, exactly-once, on topics of its own."""
    (own,) = free_ports(1)
    broker = int(kafka.bootstrap_servers.split(",")[0].rpartition(":")[2])
    urls, predictions, dead = (kafka.unique_topic(stem, PARTITIONS) for stem in ("urls", "predictions", "dead"))
    topics = Topics(kafka, urls, predictions, dead, own, broker)
    settings = settings_for(
        hostile,
        ports=frozenset({own, broker}),
        http_port=own,
        kafka=KafkaSettings({"bootstrap.servers": kafka.bootstrap_servers, "group.id": f"hostile-{uuid.uuid4()}"}),
        delivery="exactly-once",
        fetch_deadline_s=deadline_s,
        input_topic=topics.input,
        output_topic=topics.output,
        dead_letter_topic=topics.dead,
    )
    with running(settings):
        yield topics


def values_of(sent: Sequence[Sent]) -> list[bytes]:
    return [json.dumps({"event_id": str(number), "url": one.url}).encode() for number, one in enumerate(sent)]


def outcomes_of(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [decode_prediction(message.value() or b"") for message in messages]


def check(sent: Sequence[Sent], outcomes: Sequence[dict[str, Any]]) -> None:
    """One outcome for each, the right one, and the same for every good picture."""
    assert Counter(one["event_id"] for one in outcomes) == Counter(str(number) for number in range(len(sent)))
    codes = {one["event_id"]: one["error"]["code"] if one["error"] else PREDICTED for one in outcomes}
    assert wrong((one, codes[str(number)]) for number, one in enumerate(sent)) == []
    good = {one["predictions"]["brightness"]["bright"] for one in outcomes if sent[int(one["event_id"])].name == "good"}
    assert len(good) == 1


def header(message: Message, name: str) -> str:
    return str(dict(message.headers() or [])[name], "ascii")


def test_every_case_has_its_outcome_and_its_dead_letter(hostile: Servers, kafka: Kafka) -> None:
    """Values that are no events stand between the others."""
    # One that is larger than the service reads, a broker does not take either, unless it is told to.
    unreadable = [one for one in events.UNREADABLE.values() if len(one or b"") < EVENT_MAX_BYTES]
    with serving(hostile, kafka) as topics:
        sent = hostile.sent(topics.own, topics.broker)
        values = values_of(sent)
        assert len(unreadable) < len(values)
        topics.publish([*chain(*zip(values, unreadable, strict=False)), *values[len(unreadable) :]])
        outcomes = outcomes_of(topics.read(topics.output, len(values)))
    check(sent, outcomes)
    failed: Counter[tuple[bytes | None, str]] = Counter((value, "event_unreadable") for value in unreadable)
    failed += Counter((value, one.outcome) for value, one in zip(values, sent, strict=True) if one.outcome != PREDICTED)
    letters = topics.read(topics.dead, failed.total())
    assert Counter((one.value(), header(one, "error.code")) for one in letters) == failed


def test_an_image_that_crashes_its_decoder_is_an_outcome_and_no_event_that_comes_again_for_ever(
    hostile: Servers, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    codes = {
        "eats memory": "image_too_large",
        "is killed by the system": "image_too_large",
        "answers for the next image": PREDICTED,  # decent itself, and so is what becomes of the next one
    }
    good = hostile.good.serve("/good", ok(sabotage.picture_that("is decent")))
    sent = []
    for number, misdeed in enumerate(one for one in sabotage.MISDEEDS if one != "sleeps for ever"):
        url = hostile.good.serve(f"/misdeed/{number}", ok(sabotage.picture_that(misdeed)))
        sent += [Sent(misdeed, url, codes.get(misdeed, "image_corrupt")), Sent("good", good, PREDICTED)]
    with serving(hostile, kafka, deadline_s=60) as topics:  # a crash takes two new processes
        topics.publish(values_of(sent))
        outcomes = outcomes_of(topics.read(topics.output, len(sent)))
        check(sent, outcomes)
