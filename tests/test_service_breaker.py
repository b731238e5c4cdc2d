"""The breaker with real parts: Apache Kafka, hosts that refuse connections, and a model that fails."""

from __future__ import annotations

import gc
import io
import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from PIL import Image

import consumer.service
from consumer.codec import decode_prediction
from consumer.events import ModelInfo
from consumer.service import Service
from consumer.settings import Settings
from consumer.signals import StopRequest
from ops.local_kafka.ports import free_ports
from tests.brokers import Kafka

PARTITIONS = 4
HOSTS = [f"127.0.0.{n}" for n in range(2, 7)]  # loopback has 16 million addresses, each a host of its own


class FakeModel:
    """Answers at once, or fails."""

    def __init__(self) -> None:
        self.info = ModelInfo("fake", "1", "tensorflow")
        self.config = SimpleNamespace(input_size=(8, 8))
        self.max_batch = 8
        self.lanes = 1
        self.choice = None
        self.fails = False

    def predict(self, images: Any) -> list[dict[str, dict[str, float]]]:
        if self.fails:
            raise RuntimeError("out of memory")
        return [{"print": {"solid": 1.0}} for _ in images]


class Hosts:
    """Image servers on several addresses and one port, which go down and come back."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._up: dict[str, ThreadingHTTPServer] = {}

    def start(self, *hosts: str) -> None:
        for host in hosts:
            server = self._up[host] = ThreadingHTTPServer((host, self.port), _Handler)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        while self._up:
            _, server = self._up.popitem()
            server.shutdown()
            server.server_close()

    def url(self, host: str, name: str = "ok.png") -> str:
        return f"http://{host}:{self.port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/ok.png"
        body = PNG if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(out, "png")
    return out.getvalue()


PNG = _png()


class Running:
    """The service, what goes into its topic and what comes out."""

    def __init__(self, kafka: Kafka, model: FakeModel) -> None:
        self.model = model
        self.input = kafka.unique_topic("urls", PARTITIONS)
        self.output = kafka.unique_topic("predictions", PARTITIONS)
        self.dead = kafka.unique_topic("dead", 1)
        self.service = Service(
            Settings.from_env(
                {
                    "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                    "KAFKA_GROUP_ID": f"breaker-{uuid.uuid4()}",
                    "INPUT_TOPIC": self.input,
                    "OUTPUT_TOPIC": self.output,
                    "DEAD_LETTER_TOPIC": self.dead,
                    "HTTP_PORT": "0",
                    "MODEL_CACHE_BYTES": "0",  # there is one picture, and a model that fails is to be asked
                    "FETCH_ALLOW_NETS": "127.0.0.0/8",
                    "FETCH_ALLOW_PORTS": "any",
                }
            )
        )
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        self._reader = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "group.id": str(uuid.uuid4()),
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            }
        )
        places = [(self.output, n) for n in range(PARTITIONS)] + [(self.dead, 0)]
        self._reader.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for topic, n in places])
        self.outcomes: Counter[str] = Counter()
        self.codes: Counter[str | None] = Counter()
        self.letters = 0
        self._published = 0

    def publish(self, urls: list[str]) -> None:
        for number, url in enumerate(urls, self._published):
            event = json.dumps({"event_id": str(number), "url": url}).encode()
            self._producer.produce(self.input, value=event, partition=number % PARTITIONS)
        self._published += len(urls)
        assert self._producer.flush(10) == 0

    def read(self, until: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, (self.codes, self.service.health.ready())
            message = self._reader.poll(0.05)
            if message is None:
                continue
            assert message.error() is None
            if message.topic() == self.dead:
                self.letters += 1
                continue
            outcome = decode_prediction(message.value())
            self.outcomes[outcome["event_id"]] += 1
            self.codes[outcome["error"] and outcome["error"]["code"]] += 1

    def read_all(self) -> None:
        """Until every event has its outcome, and every failure its dead letter; each exactly once."""
        self.read(lambda: self.outcomes.total() >= self._published and self.letters >= self.failures)
        assert self.outcomes == Counter(str(n) for n in range(self._published))
        assert self.letters == self.failures

    @property
    def failures(self) -> int:
        return self.codes.total() - self.codes[None]

    @property
    def held(self) -> str:
        return next((one.text for one in self.service.health.ready().reasons if one.name == "breaker"), "")

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    yield made
    made.stop()


@pytest.fixture
def running(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    model = FakeModel()
    monkeypatch.setattr(consumer.service, "load_model", lambda _: model)
    asked = StopRequest()
    made = Running(kafka, model)
    with made.service:
        assert made.service.start(asked)
        assert gc.get_freeze_count()  # the collector leaves alone what stays
        yield made
        asked.set()
        made.service.wait(asked)
    made.close()
    asked.close()


def opened(caplog: pytest.LogCaptureFixture) -> int:
    return sum("intake is paused" in record.getMessage() for record in caplog.records)


def test_a_topic_survives_an_outage_of_everything_and_a_broken_model_and_is_not_paused_by_failures_of_its_own(
    running: Running, hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    # Nobody answers: silence instead of 500 dead letters.
    running.publish([hosts.url(HOSTS[n % len(HOSTS)]) for n in range(500)])
    running.read(lambda: running.held != "" and running.service.health.ready().reasons[0].for_s > 1.5)
    assert "connect_failed" in running.held
    assert running.failures == 0
    answer = requests.get(running.service.url + "/readyz", timeout=5)
    assert answer.status_code == 503
    assert "intake is paused: nothing comes from" in answer.json()["reason"]
    assert requests.get(running.service.url + "/livez", timeout=5).status_code == 200

    # They are back: it goes on by itself.
    hosts.start(*HOSTS)
    running.read_all()
    assert running.codes == {None: 500}
    assert running.held == ""
    assert opened(caplog) == 1

    # 500 pictures that are not there say that the network works.
    running.publish([hosts.url(HOSTS[n % len(HOSTS)], "missing.png") for n in range(500)])
    running.read_all()
    assert running.codes["http_status"] == 500

    # One dead host of two.
    before = running.codes["connect_failed"]
    running.publish([hosts.url((HOSTS[0], "127.0.0.99")[n % 2]) for n in range(100)])
    running.read_all()
    assert running.codes["connect_failed"] == before + 50
    assert opened(caplog) == 1

    # Forty dead ones among one that answers.
    before = running.codes["connect_failed"]
    running.publish([hosts.url(f"127.0.1.{1 + n // 2 % 40}" if n % 2 else HOSTS[0]) for n in range(400)])
    running.read_all()
    assert running.codes["connect_failed"] == before + 200
    assert opened(caplog) == 1

    # The model fails, and answers again.
    running.model.fails = True
    good = running.codes[None]
    running.publish([hosts.url(HOSTS[0]) for _ in range(200)])
    running.read(lambda: "the model failed" in running.held)
    running.model.fails = False
    running.read_all()
    assert running.codes["model_failed"] == 0
    assert running.codes[None] == good + 200
    assert opened(caplog) == 2


def test_asked_to_stop_while_the_breaker_is_open_the_service_ends_in_time_and_the_next_one_goes_on(
    running: Running, hosts: Hosts
) -> None:
    running.publish([hosts.url(HOSTS[n % len(HOSTS)]) for n in range(200)])
    running.read(lambda: running.held != "")
    asked = StopRequest()
    asked.set()
    began = time.monotonic()
    running.service.wait(asked)
    assert time.monotonic() - began < 12  # what is in flight has up to its fetch deadline
    asked.close()
    hosts.start(*HOSTS)
    later = Service(running.service.settings)
    asked = StopRequest()
    with later:
        assert later.start(asked)
        running.read_all()
        asked.set()
        later.wait(asked)
    asked.close()
    assert running.failures == 0
