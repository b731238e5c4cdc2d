"""What every run stands on: brokers, a proxy before them, pictures over HTTP."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import requests
from confluent_kafka import ElectionType, KafkaException

from consumer.demo.images import Picture, pictures
from consumer.imaging import decode_image
from consumer.settings import Settings
from ops.local_kafka import LocalKafka
from ops.local_kafka.lifeline import Lifeline
from ops.local_kafka.ports import free_ports
from ops.local_kafka.topics import admin
from tests.faults.instance import SIDE, cheap_model
from tests.faults.proxy import Proxy

PICTURES = 20
"""Different pictures: enough to tell a mixed-up answer, few enough to be drawn in a moment."""

TRANSACTION_LOG_PARTITIONS = 4
"""As `ops.local_kafka.properties.QUICK` has it."""

PROPERTIES = {
    # How soon a crashed broker's partitions have new leaders; 9 s by default.
    "broker.session.timeout.ms": "3000",
    # Where the broker decides (group.protocol=consumer): what the service itself asks for elsewhere. Kafka's own
    # defaults are 45 s and 5 s.
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "10000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "1000",
}


class Arena:
    """A context manager around it all. One serves any number of runs, one after the other.

    Args:
        brokers: 3, or 1, which keeps everything itself and is away for everybody when it is.

    Attributes:
        kafka: the brokers; a run that hurts them heals them.
        proxy: what stands before their side doors.
        servers: the brokers' own addresses.
        proxied: their addresses through the proxy.
        pictures: what there is to look at.
        answers: URL → the labels that the cheap model gives for it.
        lifeline: ends processes if this one is killed.
        folder: for logs.
    """

    def __init__(self, brokers: int = 3) -> None:
        self._brokers = range(1, brokers + 1)
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            self.folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
            self.lifeline = Lifeline()
            closing.callback(self.lifeline.close)
            doors = dict(zip(self._brokers, free_ports(len(self._brokers)), strict=True))
            self.proxy = closing.enter_context(Proxy(dict.fromkeys(doors.values(), 0)))
            self._base = self._serve_pictures(closing)
            told = {node: f"127.0.0.1:{port}" for node, port in doors.items()}
            self.kafka = closing.enter_context(LocalKafka(len(self._brokers), properties=PROPERTIES, side_doors=told))
            self.proxy.routes = {port: self.kafka.side_ports[node] for node, port in doors.items()}
            self.servers = self.kafka.bootstrap_servers
            self.proxied = ",".join(told.values())
            self._admin = admin(self.servers)
            self.pictures = pictures(self._base, PICTURES)
            self.answers = self._answers(self.pictures)
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def missing(self, number: int) -> str:
        """A URL at which there is nothing."""
        return f"{self._base}/missing/{number}"

    def heal(self, *, brokers: bool, proxy: bool) -> None:
        """All brokers up, nothing cut."""
        if proxy:
            self.proxy.heal()
        if brokers:
            self.kafka.resume()
            self.kafka.start()

    def leader(self, topic: str, partition: int) -> int | None:
        """The broker that leads a partition; null if there is none at this moment."""
        try:
            found = self._admin.list_topics(timeout=10).topics[topic].partitions[partition].leader
        except (KafkaException, KeyError):
            return None
        return found if found >= 0 else None

    def group_coordinator(self, group: str) -> int | None:
        """The broker that a consumer group belongs to."""
        return self.leader("__consumer_offsets", java_hash(group) % TRANSACTION_LOG_PARTITIONS)

    def transaction_coordinator(self, transactional_id: str) -> int | None:
        """The broker that a transactional id belongs to."""
        return self.leader("__transaction_state", java_hash(transactional_id) % TRANSACTION_LOG_PARTITIONS)

    def in_sync(self) -> bool:
        """Whether every partition has all of its copies."""
        try:
            topics = self._admin.list_topics(timeout=10).topics.values()
        except KafkaException:
            return False
        return all(len(one.isrs) == len(one.replicas) for topic in topics for one in topic.partitions.values())

    def move_leaders_home(self) -> None:
        """Every partition's leader becomes its first replica again: after a bounce, a third of them move."""
        self._admin.elect_leaders(ElectionType.PREFERRED).result(30)

    def delete(self, *topics: str) -> None:
        """Topics of a run that is over."""
        for future in self._admin.delete_topics(list(topics), operation_timeout=10).values():
            future.exception(20)  # one that stays is in nobody's way

    def _serve_pictures(self, closing: ExitStack) -> str:
        server = subprocess.Popen([sys.executable, "-m", "consumer.demo.images", "--port", "0"], stdout=subprocess.PIPE)
        self.lifeline.hold(server)

        def end() -> None:
            server.kill()
            server.communicate()

        closing.callback(end)
        assert server.stdout is not None
        return server.stdout.readline().decode().split()[-1].rstrip("/")

    def _answers(self, of: list[Picture]) -> dict[str, dict[str, str]]:
        model = cheap_model(Settings())
        bodies = [requests.get(picture.url, timeout=60).content for picture in of]
        pixels = [decode_image(body, size=(SIDE, SIDE), max_pixels=10**7).pixels for body in bodies]
        answers = model.predict(np.stack(pixels))
        return {
            picture.url: {task: max(labels, key=labels.__getitem__) for task, labels in answer.items()}
            for picture, answer in zip(of, answers, strict=True)
        }


def java_hash(text: str) -> int:
    """``Utils.abs(text.hashCode())``: how Kafka spreads groups and transactional ids over its own topics."""
    value = 0
    for letter in text:
        value = (31 * value + ord(letter)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
