"""Which Apache Kafka the tests run on: the one that is given, else a local one, else one in Docker."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from ops.local_kafka import LocalKafka, jars, topics
from ops.local_kafka.ports import free_ports
from ops.local_kafka.properties import QUICK, replication

IMAGE = f"apache/kafka:{jars.version()}"


@dataclass(frozen=True)
class Kafka:
    """A running Apache Kafka. Tests share it, so each makes topics of its own."""

    bootstrap_servers: str
    chosen: str

    def create_topic(self, name: str, partitions: int = 1, replication: int = -1) -> None:
        """Makes a topic and waits until it can be used; -1 is the broker's own replication."""
        topics.create_topic(self.bootstrap_servers, name, partitions=partitions, replication=replication)

    def unique_topic(self, stem: str = "topic", partitions: int = 1) -> str:
        """Makes a topic that no other test has, and returns its name."""
        name = f"{stem}-{uuid.uuid4().hex[:12]}"
        self.create_topic(name, partitions)
        return name


class NoKafkaError(Exception):
    """No broker can be had; the message says why, way by way."""


@contextmanager
def any_kafka(given: str | None, tell: Callable[[str], None] = lambda _: None) -> Iterator[Kafka]:
    """The broker that the tests run on, ended with the block if it was started for it.

    Args:
        given: value of ``KAFKA_BOOTSTRAP_SERVERS``; with it nothing is started.
        tell: told of what takes long.

    Raises:
        NoKafkaError: none of the three ways is open.
    """
    if given:
        yield Kafka(given, "given")
        return
    no_local = jars.why_not()
    if no_local is None:
        if not jars.folder().is_dir():
            tell(f"fetching Apache Kafka {jars.version()} from Maven Central, 55 MB, once")
        with LocalKafka() as local:
            yield Kafka(local.bootstrap_servers, "local")
        return
    no_docker = _why_no_docker()
    if no_docker is not None:
        raise NoKafkaError(f"KAFKA_BOOTSTRAP_SERVERS is not set; {no_local}; {no_docker}")
    tell(f"no local Apache Kafka ({no_local}): starting {IMAGE} in Docker")
    with _in_docker() as address:
        yield Kafka(address, "docker")


def _why_no_docker() -> str | None:
    # In a process of its own, since the client leaves its socket open when no engine answers.
    ask = [sys.executable, "-c", "import docker; docker.from_env().close()"]
    found = subprocess.run(ask, capture_output=True, check=False).returncode == 0
    return None if found else "no Docker engine answers"


@contextmanager
def _in_docker() -> Iterator[str]:
    testcontainers_config.ryuk_disabled = True  # its reaper is one image more; the block ends the container
    (port,) = free_ports(1)
    container = DockerContainer(IMAGE).with_bind_ports(9092, port).with_envs(**container_variables(port))
    with container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(120)):
        yield f"localhost:{port}"


def container_variables(port: int) -> dict[str, str]:
    """The image's whole configuration: one variable alone takes away all of its defaults.

    Brokers speak among themselves over INTERNAL, which is reached from inside the container: over a port
    that only the host has, the broker could not ask its own transaction coordinator.
    """
    properties = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": "1@localhost:9093",
        "controller.listener.names": "CONTROLLER",
        "listeners": "CONTROLLER://localhost:9093,INTERNAL://localhost:29092,HOST://:9092",
        "advertised.listeners": f"INTERNAL://localhost:29092,HOST://localhost:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,HOST:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        **replication(1),
        **QUICK,
    }
    return {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in properties.items()}
