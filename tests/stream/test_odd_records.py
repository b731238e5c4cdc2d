"""Records of every odd kind, through Apache Kafka and the whole stream: none holds it up, none is lost."""

from __future__ import annotations

import ctypes
import random
import time
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import confluent_kafka
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from consumer.codec import Encoder, decode_prediction
from consumer.events import Answer, ImageInfo, ModelInfo, Prediction
from consumer.predictor import Predictor
from consumer.worker import Worker
from tests.brokers import Kafka
from tests.stream.stage import Member, Stage

EVENT = b'{"url": "https://shop.example/a.jpg"}'
SOON_MS = 50 * 60 * 1000
"""Brokers take no timestamp that is more than an hour ahead."""


class InstantPredictor:
    """Knows the answer at once, whatever the URL."""

    def submit(self, url: str) -> Future[Answer]:
        done: Future[Answer] = Future()
        done.set_result(Prediction({"sleeves": {"long": 1.0}}, ImageInfo("00", "png", 1, 1, 1)))
        return done


class Odd:
    """A stage with the real encoder, and both of its output topics read to their ends."""

    def __init__(self, kafka: Kafka, delivery: str) -> None:
        self._dead = kafka.unique_topic("dead")
        self.stage = Stage(kafka, delivery, DEAD_LETTER_TOPIC=self._dead)
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "message.max.bytes": 2**21})

    def publish(self, value: bytes | None, **more: Any) -> None:
        self.producer.produce(self.stage.input, value=value, partition=0, **more)

    def flush(self) -> None:
        assert self.producer.flush(20) == 0

    def run(self, predicted: int, dead: int) -> tuple[list[Any], list[Any]]:
        """Outcomes and dead letters, once there are so many."""
        self.flush()
        settings = self.stage.settings
        encoder = Encoder(
            "json",
            input_topic=settings.input_topic,
            output_topic=settings.output_topic,
            dead_letter_topic=settings.dead_letter_topic,
            model=ModelInfo("m", "1", "tensorflow"),
        )
        member = Member(settings, cast(Any, Worker(cast(Predictor, InstantPredictor()), encoder)))
        try:
            return self._read(settings.output_topic, predicted), self._read(self._dead, dead)
        finally:
            member.stop()

    def _read(self, topic: str, count: int) -> list[Any]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.stage.bootstrap_servers,
                "group.id": str(uuid.uuid4()),
                "isolation.level": "read_committed",
            }
        )
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in partitions])
        found: list[Any] = []
        deadline = time.monotonic() + 30
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
        consumer.close()
        assert len(found) == count
        return found


@pytest.fixture(params=["exactly-once", "at-least-once"])
def odd(kafka: Kafka, request: pytest.FixtureRequest) -> Odd:
    return Odd(kafka, request.param)


def test_odd_records_come_to_what_they_are_and_hold_nobody_up(odd: Odd) -> None:
    many = [(f"header-{n}", b"%d" % n) for n in range(1000)]
    megabyte = random.Random(1).randbytes(1_000_000)
    future = int(time.time() * 1000) + SOON_MS
    odd.publish(None, key=b"tombstone")
    odd.publish(EVENT, key=b"")
    odd.publish(EVENT)
    odd.publish(EVENT, key=b"\xff\x00", headers=[("latin", "é".encode("latin-1")), ("null", None), ("", b"empty")])
    odd.publish(b"no event", key=b"many", headers=many)
    odd.publish(megabyte, key=b"large")
    odd.publish(EVENT, key=b"future", timestamp=future)
    odd.publish(EVENT, key=b"past", timestamp=1)
    predicted, dead = odd.run(predicted=5, dead=3)
    told = {message.key(): decode_prediction(message.value()) for message in predicted}
    assert {None, b"", b"\xff\x00", b"future", b"past"} == set(told)
    assert (told[b"future"]["source"]["timestamp"], told[b"past"]["source"]["timestamp"]) == (future, 1)
    letters = {message.key(): message for message in dead}
    assert {b"tombstone", b"many", b"large"} == set(letters)
    assert letters[b"tombstone"].value() is None
    assert letters[b"many"].headers()[:1000] == many
    if letters[b"large"].value() is not None:
        assert letters[b"large"].value() == megabyte
    else:  # with the reason in its headers it is more than the broker takes
        assert ("error.value.bytes", b"1000000") in letters[b"large"].headers()


def test_a_header_whose_name_is_not_utf8_costs_the_record_its_headers_and_nothing_else(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    odd = Odd(kafka, "exactly-once")
    for number in range(20):  # by then the interpreter has made the call that reads headers a faster one
        odd.publish(EVENT, key=b"%d" % number, headers=[("name", b"value")])
    odd.flush()
    for _ in range(2):
        produce_raw(kafka.bootstrap_servers, odd.stage.input, EVENT, b"na\xffme")
    odd.publish(EVENT, key=b"next")
    predicted, _ = odd.run(predicted=23, dead=0)
    assert {message.key() for message in predicted} == {None, b"next", *(b"%d" % number for number in range(20))}
    assert sum("name is not UTF-8" in one.getMessage() for one in caplog.records) == 1  # once in a while


def produce_raw(servers: str, topic: str, value: bytes, header: bytes) -> None:
    """One record with a header's name as it is: the Python client takes text only, librdkafka any bytes."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    pointer, error = ctypes.c_void_p, ctypes.create_string_buffer(200)
    conf = pointer(library.rd_kafka_conf_new())
    assert library.rd_kafka_conf_set(conf, b"bootstrap.servers", servers.encode(), error, 200) == 0
    producer = pointer(library.rd_kafka_new(0, conf, error, 200))
    topic_is, partition_is, value_is, flags_are, header_is, end = 1, 3, 4, 7, 9, 0  # rd_kafka_vtype_t
    arguments: list[Any] = [topic_is, topic.encode(), partition_is, ctypes.c_int32(0)]
    arguments += [value_is, value, ctypes.c_size_t(len(value)), flags_are, ctypes.c_int(2)]
    arguments += [header_is, header, b"v", ctypes.c_ssize_t(1), end]
    assert library.rd_kafka_producev(producer, *arguments) == 0
    assert library.rd_kafka_flush(producer, 10_000) == 0
    library.rd_kafka_destroy(producer)
