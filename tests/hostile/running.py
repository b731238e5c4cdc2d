"""The real service in this process, and the servers that it is sent to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from consumer import service
from consumer.demo.broker import EmbeddedBroker
from consumer.fetching.retry import Retries
from consumer.kafka_settings import KafkaSettings
from consumer.model import Model
from consumer.model.config import ModelConfig
from consumer.model.heads import Heads, Pixels
from consumer.service import Service
from consumer.settings import Settings
from consumer.signals import StopRequest
from consumer.stream.preflight import topics_of
from ops.local_kafka.ports import free_ports
from tests.fetching.server import HostileServer, ok
from tests.hostile import images, urls
from tests.hostile.measuring import PREDICTED

DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A URL that stands for one case, and what it has to come to."""

    name: str
    url: str
    outcome: str


class Brightness:
    """A backend whose answer tells pictures apart: how bright they are, in 256 steps."""

    name = "brightness"
    precision = "float32"
    lanes = 2

    def __call__(self, images: Pixels) -> Heads:
        bright = (images.mean(axis=(1, 2, 3)) / 256).astype(np.float32)
        return [np.stack([1 - bright, bright], axis=1).astype(np.float32)]


def cheap_model(_: Settings) -> Model:
    config = ModelConfig("cheap", "1", Path(), (32, 32), {"brightness": ("dark", "bright")})
    return Model(config, Brightness(), 16)


@contextmanager
def running(settings: Settings) -> Iterator[Service]:
    """The service until the block ends. An error that it ends with is pytest's warning of a thread's, hence a failure."""
    asked = StopRequest()
    with Service(settings) as made:
        assert made.start(asked)
        ended = threading.Thread(target=made.wait, args=(asked,))
        ended.start()
        try:
            yield made
        finally:
            asked.set()
            ended.join(60)
            asked.close()
            assert not ended.is_alive(), "the service does not end"


@contextmanager
def replaced(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The model by a cheap one, names by `urls.NAMES`, pauses between attempts by short ones."""
    hanging = threading.Event()
    resolve = socket.getaddrinfo

    def look_up(host: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not isinstance(name, str) or not name.endswith(".test"):
            return resolve(host, *more, **options)
        found = urls.NAMES.get(name, ["127.0.0.1"])  # each case has a name of its own
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if not found:
            hanging.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "later")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    patch.setattr(socket, "getaddrinfo", look_up)
    patch.setattr(service, "load_model", cheap_model)
    patch.setattr(Retries.__init__, "__defaults__", (lambda _low, high: high / 20,))
    try:
        yield
    finally:
        hanging.set()


class Servers:
    """One server of good pictures and of the image cases, and one for each answer."""

    def __init__(self) -> None:
        self._made = ExitStack()
        self.good = self._made.enter_context(HostileServer())
        self._plain = self._made.enter_context(HostileServer())
        self._plain.greeting = (b"220 mail.test ESMTP\r\n",)
        for number, case in enumerate(images.CASES):
            self.good.serve(f"/image/{number}", ok(case.body))
        for path in ("/", "/again", "/?a=b&password=hunter2"):
            self.good.serve(path, ok(urls.PICTURE))
        self._answers = [self._made.enter_context(HostileServer()) for _ in urls.ANSWERS]
        for server, one in zip(self._answers, urls.ANSWERS, strict=True):
            server.serve("/", one.answer(self.good.port))

    @property
    def ports(self) -> frozenset[int]:
        return frozenset({80, 443, self.good.port, self._plain.port, *(one.port for one in self._answers)})

    def sent(self, own_port: int, broker_port: int) -> Sequence[Sent]:
        """Every case, a good picture after each, and last those that take all their time.

        Callers of ``/predict/`` have few threads of their own: they stand in line behind so many that hang.
        """
        ports = {"port": self.good.port, "plain": self._plain.port, "own": own_port, "broker": broker_port}
        cases = [
            *(Sent(one.name, one.url.format(**ports) if "{" in one.url else one.url, one.outcome) for one in urls.URLS),
            *(
                Sent(one.name, f"http://answer-{number}.test:{server.port}/", one.outcome)
                for number, (one, server) in enumerate(zip(urls.ANSWERS, self._answers, strict=True))
            ),
            *(
                Sent(one.name, f"http://images.test:{self.good.port}/image/{number}", one.outcome)
                for number, one in enumerate(images.CASES)
            ),
        ]
        cases.sort(key=lambda case: case.outcome == "fetch_timeout")
        return [one for case in cases for one in (case, self._neighbour())]

    def _neighbour(self) -> Sent:
        return Sent("good", f"http://good.test:{self.good.port}/", PREDICTED)

    def close(self) -> None:
        self._made.close()


@contextmanager
def servers() -> Iterator[Servers]:
    made = Servers()
    try:
        yield made
    finally:
        made.close()


def settings_for(made: Servers, **more: Any) -> Settings:
    return Settings(
        **{
            "fetch_allow_nets": (ip_network("127.0.0.1/32"),),
            "fetch_allow_ports": made.ports | more.pop("ports", frozenset()),
            "fetch_deadline_s": DEADLINE_S,
            "fetch_max_bytes": 2**19,
            "fetch_attempts": 2,
            "http_port": 0,
            "drain_s": 5.0,
            **more,
        }
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """What ``GET /predict/`` said of a case; ``outcome`` is `PREDICTED` or the code."""

    sent: Sent
    status: int
    outcome: str
    seconds: float
    predictions: Any


def ask(made: Service, sent: Sent) -> Answered:
    """One case through ``/predict/``."""
    began = time.monotonic()
    answer = requests.get(f"{made.url}/predict/", params={"url": sent.url}, timeout=60)
    seconds = time.monotonic() - began
    content = answer.json()
    return Answered(sent, answer.status_code, content.get("code", PREDICTED), seconds, content.get("predictions"))


@contextmanager
def asking(made: Servers) -> Iterator[tuple[Service, Sequence[Sent]]]:
    """The service on its embedded broker, and every case with what it has to come to."""
    (own,) = free_ports(1)
    with EmbeddedBroker(tuple(topics_of(Settings()).values())) as broker:
        port = int(broker.bootstrap_servers.rpartition(":")[2])
        kafka = KafkaSettings({"bootstrap.servers": broker.bootstrap_servers})
        settings = settings_for(
            made, ports=frozenset({own, port}), http_port=own, kafka=kafka, delivery="at-least-once"
        )
        with running(settings) as service_:
            yield service_, made.sent(own, port)


def wrong(found: Iterable[tuple[Sent, str]]) -> list[str]:
    """Cases that came to something else than they have to."""
    return [f"{sent.name}: {outcome} instead of {sent.outcome}" for sent, outcome in found if sent.outcome != outcome]
