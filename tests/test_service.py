"""The whole service as its users run it: a process, Apache Kafka, pictures over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from consumer.codec import decode_prediction
from consumer.demo.drawing import draw_garment
from consumer.demo.images import ImageServer
from ops.local_kafka.ports import free_ports
from tests.brokers import Kafka

PARTITIONS = 6


class Process:
    """`image-consumer run` on topics of a test's own."""

    def __init__(self, kafka: Kafka, log: Path, **settings: str) -> None:
        self.input = kafka.unique_topic("urls", PARTITIONS)
        self.output = kafka.unique_topic("predictions", PARTITIONS)
        self.dead = kafka.unique_topic("dead", 1)
        (self.port,) = free_ports(1)
        self._bootstrap = kafka.bootstrap_servers
        self._log = log
        self._environ = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_GROUP_ID": f"service-{uuid.uuid4()}",
            "INPUT_TOPIC": self.input,
            "OUTPUT_TOPIC": self.output,
            "DEAD_LETTER_TOPIC": self.dead,
            "HTTP_PORT": str(self.port),
            "FETCH_ALLOW_NETS": "127.0.0.0/8",
            "FETCH_ALLOW_PORTS": "any",
            "MODEL_BACKEND": "tensorflow",  # no measuring at start
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it is ready."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "consumer", "run"], env=self._environ, stdout=log, stderr=log
            )
        self.wait_for(lambda: self.get("/readyz") == 200, "ready", 90)

    def get(self, path: str) -> int:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).status_code
        except requests.ConnectionError:
            return 0

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(40)

    def wait_for(self, condition: Any, what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, f"it ended with {self.process.poll()}:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, f"not {what} after {seconds} s:\n{self._log.read_text()}"
            time.sleep(0.05)

    def publish(self, events: Sequence[tuple[str | None, bytes | None]]) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "partitioner": "murmur2_random"})
        for key, value in events:
            producer.produce(self.input, key=key, value=value)
        assert producer.flush(20) == 0

    def wait_until_read(self, topic: str, count: int) -> None:
        """Returns as soon as a subscriber sees so much in a topic."""
        assert len(self.read(topic, count, settled=False)) == count

    def read(self, topic: str, count: int, seconds: float = 60.0, *, settled: bool = True) -> list[Any]:
        """What a subscriber sees in a topic, once there is so much of it, and, ``settled``, nothing more comes."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": str(uuid.uuid4()),
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in partitions])
        found: list[Any] = []
        at_end: set[int] = set()  # a moment's silence is no proof of the end: the first fetch may take longer
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (settled or len(found) < count):
            message = consumer.poll(0.3)
            if message is None:
                if len(found) >= count and len(at_end) == len(partitions):
                    break
            elif message.error() is None:
                found.append(message)
                at_end.discard(message.partition())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition())
        consumer.close()
        return found


@pytest.fixture
def service(kafka: Kafka, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Process]:
    made = Process(kafka, tmp_path / "service.log", **getattr(request, "param", {}))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait(10)


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with ImageServer() as server:
        yield server


@pytest.fixture(scope="module")
def oddities() -> Iterator[str]:
    """A server of things that are no pictures."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = (
                (200, b"<!doctype html><html><body>a shop</body></html>") if "page" in self.path else (404, b"")
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def event(url: str, number: int) -> bytes:
    return json.dumps({"event_id": str(number), "url": url}).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "service", [{"DELIVERY": "exactly-once", "FETCH_SHARED": "false", "MODEL_CACHE_BYTES": "0"}], indirect=True
)
def test_two_thousand_events_through_a_stop_and_a_restart_have_one_outcome_each_in_the_order_of_their_key(
    service: Process, images: ImageServer
) -> None:
    count = 2_000
    pictures = images.pictures(40)
    published = [(f"shop-{n % 50}", event(pictures[n % 40].url, n)) for n in range(count)]
    service.publish(published)
    service.start()
    service.wait_until_read(service.output, 300)
    assert service.end() == 0
    before = len(service.read(service.output, 0))
    assert 300 <= before < count
    service.start()
    messages = service.read(service.output, count, 120)
    assert service.end() == 0

    outcomes = [decode_prediction(message.value()) for message in messages]
    assert Counter(outcome["event_id"] for outcome in outcomes) == Counter(str(n) for n in range(count))
    for key in {key for key, _ in published}:
        ids = [
            int(one["event_id"])
            for one, message in zip(outcomes, messages, strict=True)
            if message.key().decode() == key
        ]
        assert ids == sorted(ids)
    right = sum(one["labels"] == pictures[int(one["event_id"]) % 40].truth for one in outcomes)
    assert right / count >= 0.9
    assert service.read(service.dead, 0) == []


def test_events_that_fail_have_their_codes_and_leave_the_others_alone(
    service: Process, images: ImageServer, oddities: str
) -> None:
    good = images.pictures(2)
    garment = draw_garment(0).jpeg
    assert garment  # the server draws the very same
    service.publish(
        [
            ("k", event(good[0].url, 0)),
            ("k", event("http://exa mple/", 1)),
            ("k", event(f"{oddities}/missing", 2)),
            ("k", b"this is no event"),
            ("k", event(f"{oddities}/page", 4)),
            ("k", event("http://169.254.169.254/latest/meta-data", 5)),
            ("k", None),
            ("k", event(good[1].url, 7)),
        ]
    )
    service.start()
    outcomes = [decode_prediction(message.value()) for message in service.read(service.output, 6)]
    codes = [(one["event_id"], one["error"] and one["error"]["code"]) for one in outcomes]
    assert codes == [
        ("0", None),
        ("1", "url_invalid"),
        ("2", "http_status"),
        ("4", "not_an_image"),
        ("5", "url_blocked"),
        ("7", None),
    ]
    letters = service.read(service.dead, 6)
    told = [dict(message.headers())["error.code"].decode() for message in letters]
    assert sorted(told) == sorted(
        ["url_invalid", "http_status", "event_unreadable", "not_an_image", "url_blocked", "event_unreadable"]
    )
    assert b"this is no event" in [message.value() for message in letters]
    metrics = requests.get(f"http://127.0.0.1:{service.port}/metrics", timeout=5).text
    assert 'image_consumer_events_total{outcome="predicted"} 2.0' in metrics
    assert 'image_consumer_failures_total{code="url_blocked"} 1.0' in metrics
    assert service.end() == 0


@pytest.mark.parametrize("service", [{"DELIVERY": "at-least-once", "OUTPUT_FORMAT": "json"}], indirect=True)
def test_http_answers_by_the_same_path_and_a_stop_ends_with_code_0(service: Process, images: ImageServer) -> None:
    picture = images.pictures(1)[0]
    service.start()
    answer = requests.get(f"http://127.0.0.1:{service.port}/predict/", params={"url": picture.url}, timeout=20)
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    service.publish([(None, event(picture.url, 0))])
    (message,) = service.read(service.output, 1)
    outcome = json.loads(message.value())
    for task, labels in predictions.items():
        assert labels == pytest.approx(outcome["predictions"][task], abs=1e-4)
    assert service.get("/livez") == 200
    assert service.end(signal.SIGINT) == 0


def test_a_killed_service_loses_and_doubles_nothing(service: Process, images: ImageServer) -> None:
    count = 300
    pictures = images.pictures(20)
    service.publish([(f"key-{n % 7}", event(pictures[n % 20].url, n)) for n in range(count)])
    service.start()
    service.wait_until_read(service.output, 40)
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    service.start()
    outcomes = [decode_prediction(message.value()) for message in service.read(service.output, count, 90)]
    assert Counter(one["event_id"] for one in outcomes) == Counter(str(n) for n in range(count))
    assert service.end() == 0
