"""An instance without a partition is a member all the same: ready, and its status says that it has none."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import requests
from confluent_kafka import Consumer

from consumer import service
from consumer.events import ModelInfo
from consumer.settings import Settings
from consumer.signals import StopRequest
from consumer.stream import clients
from tests.brokers import Kafka

MODEL = SimpleNamespace(
    info=ModelInfo("none", "1", "tensorflow"),
    config=SimpleNamespace(input_size=(8, 8)),
    max_batch=8,
    lanes=1,
    choice=None,
    predict=list,
)


@contextmanager
def another_member(settings: Settings) -> Iterator[None]:
    """A member of the group that has got the topic's only partition, and keeps it."""
    consumer = Consumer(clients.consumer_config(settings, clients.Instance("another", stable=False)))
    has_it, end = threading.Event(), threading.Event()
    consumer.subscribe([settings.input_topic], on_assign=lambda *_: has_it.set())

    def poll() -> None:
        while not end.is_set():
            consumer.poll(0.1)
        consumer.close()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        assert has_it.wait(20.0)
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_an_instance_without_a_partition_is_ready_and_says_that_it_holds_none(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    topics = ("INPUT_TOPIC", "OUTPUT_TOPIC", "DEAD_LETTER_TOPIC")
    settings = Settings.from_env(
        {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_GROUP_ID": f"joined-{uuid.uuid4()}",
            "KAFKA_GROUP_PROTOCOL": protocol,
            "HTTP_PORT": "0",
        }
        | {variable: kafka.unique_topic(variable.lower()) for variable in topics}
    )
    monkeypatch.setattr(service, "load_model", lambda _: MODEL)
    asked = StopRequest()
    with another_member(settings), service.Service(settings) as made:
        assert made.start(asked)
        deadline = time.monotonic() + 20.0
        while (ready := requests.get(made.url + "/readyz", timeout=5)).status_code != 200:
            assert time.monotonic() < deadline, ready.text
        while (status := made.status()).stream is None:  # the first report comes within a second
            assert time.monotonic() < deadline
        told = requests.get(made.url + "/status", headers={"Accept": "application/json"}, timeout=5).json()
        page = requests.get(made.url + "/status", timeout=5).text
        asked.set()
        made.wait(asked)
    asked.close()
    assert status.ready
    assert told["stream"]["partitions"] == []
    assert "None is assigned to this instance." in page
