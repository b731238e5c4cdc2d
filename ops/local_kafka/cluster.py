"""`LocalKafka`: Apache Kafka in KRaft mode on loopback, each broker a process of ours."""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka.admin import ClusterMetadata

from ops.local_kafka import archive, jars, topics
from ops.local_kafka.errors import LocalKafkaError
from ops.local_kafka.lifeline import Lifeline
from ops.local_kafka.ports import free_ports
from ops.local_kafka.properties import SideDoor, broker_properties

JVM = [
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # a broker that lives for minutes never earns the optimising compiler back
    f"-Dlog4j2.configurationFile={jars.HERE / 'log4j2.yaml'}",
]
START_S = 90.0
"""Ready in 2 to 5 s on an idle machine; three brokers on two busy cores have needed 20."""
STOP_S = 60.0


@dataclass
class _Broker:
    node: int
    address: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False

    @property
    def properties(self) -> Path:
        return self.folder / f"broker-{self.node}.properties"

    @property
    def log(self) -> Path:
        return self.folder / f"broker-{self.node}.log"

    def tail(self) -> str:
        return jars.tail(self.log.read_text("utf-8", errors="replace"))


class LocalKafka:
    """A context manager around one or three brokers, numbered from 1, which keep their ports and data.

    `kill`, `stop`, `start`, `pause` and `resume` take brokers' numbers, or none for all of them. What is
    still running at the end is killed, and the data with it: nobody wants them. With ``folder`` the
    files (properties, data, ``broker-N.log``) stay there; without, they are in a temporary folder that
    is removed.

    Args:
        brokers: 1 or 3.
        folder: where the files stay.
        properties: more properties for each broker.
        side_doors: for each of these brokers a second listener, which tells clients to come back to this
            address, a proxy's; where it listens itself is in `side_ports`.
        java_options: those that Java is started with besides `JVM`; by default such that it starts sooner.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        folder: Path | None = None,
        properties: Mapping[str, str] | None = None,
        side_doors: Mapping[int, str] | None = None,
        java_options: Sequence[str] | None = None,
    ) -> None:
        if brokers not in (1, 3):
            raise ValueError(f"one broker or three, not {brokers}: two have no majority without each other")
        self._keep = folder is not None
        self._count = brokers
        self._folder = folder
        self._more = dict(properties or {})
        self._side_doors = dict(side_doors or {})
        self.side_ports: dict[int, int] = {}
        self._brokers: dict[int, _Broker] = {}
        self._lifeline: Lifeline | None = None
        self._java_options = java_options
        self._java: list[str] = []

    def __enter__(self) -> Self:
        java, classes = jars.java(), jars.fetch().resolve()
        options = self._java_options
        if options is None:
            options = archive.options(java, classes, _start_and_stop)
        self._java = [java, *JVM, *options, "-cp", f"{classes}/*"]
        folder = self._folder or Path(tempfile.mkdtemp(prefix="local-kafka-"))
        self._folder = folder
        self._lifeline = Lifeline(None if self._keep else folder)
        try:
            self._format(folder)
            self.start()
        except BaseException:  # Ctrl-C too: it is raised again, and no broker stays behind
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kills what runs and removes the temporary folder."""
        self.kill()
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if not self._keep and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def bootstrap_servers(self) -> str:
        """Every broker's address, whether it runs or not: ``127.0.0.1:PORT,…``."""
        return ",".join(broker.address for broker in self._brokers.values())

    @property
    def pids(self) -> list[int]:
        """The processes of the brokers that run."""
        return [broker.process.pid for broker in self._brokers.values() if broker.process is not None]

    @property
    def folder(self) -> Path:
        """Where the properties, the data and the logs are."""
        assert self._folder is not None
        return self._folder

    def create_topic(self, name: str, partitions: int = 1, replication: int | None = None) -> None:
        """Makes a topic, replicated on every broker unless told otherwise, and waits until it can be used."""
        running = ",".join(broker.address for broker in self._running())
        topics.create_topic(running, name, partitions=partitions, replication=replication or self._count)

    def start(self, *brokers: int) -> None:
        """Starts brokers that are down, on the ports and data they had, and waits until they are ready.

        Ready is a broker that answers and lists itself and every other running one. Of three brokers
        two are needed before any is ready, so that two which are down are to be started in one call.

        Raises:
            LocalKafkaError: one ended, or is not ready after 90 s; the message shows the end of its log.
        """
        assert self._lifeline is not None
        started = [broker for broker in self._chosen(brokers) if broker.process is None]
        for broker in started:
            with broker.log.open("ab") as log:
                broker.process = subprocess.Popen(
                    self._command("kafka.Kafka", str(broker.properties)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for us: we end the brokers after their clients
                )
            self._lifeline.hold(broker.process)
        deadline = time.monotonic() + START_S
        for broker in started:
            self._wait_until_ready(broker, deadline)

    def stop(self, *brokers: int) -> None:
        """SIGTERM: leaders move away, logs are flushed, the process ends by itself."""
        chosen = [broker for broker in self._chosen(brokers) if broker.process is not None]
        self.resume(*(broker.node for broker in chosen))
        self._end(chosen, signal.SIGTERM)

    def kill(self, *brokers: int) -> None:
        """SIGKILL: a crash, as sudden as the machine allows. What the page cache holds survives it.

        One thing does not, if the only broker is killed right after a commit: a transaction marker that was
        not written yet. At the restart Kafka 4.3 finds the partition without a leader for a moment, takes it
        for deleted ("hence can be skipped" in the log) and never closes the transaction, so that readers
        of committed records wait for ever. Tests that count through crashes need three brokers.
        """
        self._end([broker for broker in self._chosen(brokers) if broker.process is not None], signal.SIGKILL)

    def pause(self, *brokers: int) -> None:
        """SIGSTOP: the broker holds its connections and answers nothing, as in a long stall."""
        self._signal(brokers, signal.SIGSTOP, paused=True)

    def resume(self, *brokers: int) -> None:
        """SIGCONT: a paused broker goes on where it stood."""
        self._signal(brokers, signal.SIGCONT, paused=False)

    def _chosen(self, nodes: Iterable[int]) -> list[_Broker]:
        return [self._brokers[node] for node in nodes] if nodes else list(self._brokers.values())

    def _running(self) -> list[_Broker]:
        return [broker for broker in self._brokers.values() if broker.process is not None and not broker.paused]

    def _signal(self, nodes: Iterable[int], number: signal.Signals, *, paused: bool) -> None:
        for broker in self._chosen(nodes):
            if broker.process is not None:
                broker.process.send_signal(number)
                broker.paused = paused

    def _end(self, brokers: list[_Broker], number: signal.Signals) -> None:
        assert self._lifeline is not None or not brokers
        for broker in brokers:
            if broker.process is not None:
                broker.process.send_signal(number)
        for broker in brokers:
            if broker.process is None or self._lifeline is None:
                continue
            try:
                broker.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                raise LocalKafkaError(
                    f"broker {broker.node} still runs {STOP_S:g} s after {number.name}:\n{broker.tail()}"
                ) from None
            self._lifeline.release(broker.process)
            broker.process, broker.paused = None, False

    def _command(self, main: str, *arguments: str) -> list[str]:
        return [*self._java, main, *arguments]

    def _format(self, folder: Path) -> None:
        """Draws ports, writes each broker's properties and formats its storage, all of them at once."""
        nodes = range(1, self._count + 1)
        ports = iter(free_ports(2 * self._count + len(self._side_doors)))
        clients = {node: f"127.0.0.1:{next(ports)}" for node in nodes}
        controllers = {node: f"127.0.0.1:{next(ports)}" for node in nodes}
        self.side_ports = {node: next(ports) for node in self._side_doors}
        sides = {node: SideDoor(f"127.0.0.1:{port}", self._side_doors[node]) for node, port in self.side_ports.items()}
        cluster = "k" + secrets.token_urlsafe(16)[1:]  # 16 bytes in base64; a leading hyphen looks like an option
        running = []
        for node in nodes:
            broker = self._brokers[node] = _Broker(node, clients[node], folder)
            data = folder / f"data-{node}"
            properties = broker_properties(node, clients[node], controllers, data, sides.get(node)) | self._more
            broker.properties.write_text("".join(f"{k}={v}\n" for k, v in properties.items()), "utf-8")
            with broker.log.open("wb") as log:
                command = self._command(
                    "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(broker.properties)
                )
                running.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        for broker, process in zip(self._brokers.values(), running, strict=True):
            if process.wait() != 0:
                raise LocalKafkaError(f"the storage of broker {broker.node} could not be formatted:\n{broker.tail()}")

    def _wait_until_ready(self, broker: _Broker, deadline: float) -> None:
        assert broker.process is not None
        expected = {one.node for one in self._running()}

        def complete(metadata: ClusterMetadata) -> bool:
            return expected <= set(metadata.brokers)

        while not topics.answers(broker.address, complete):
            with suppress(subprocess.TimeoutExpired):
                code = broker.process.wait(0.05)  # also the pause between two questions
                raise LocalKafkaError(f"broker {broker.node} ended with code {code}:\n{broker.tail()}")
            if time.monotonic() > deadline:
                raise LocalKafkaError(f"broker {broker.node} is not ready after {START_S:g} s:\n{broker.tail()}")


def _start_and_stop(java_options: Sequence[str]) -> None:
    """A broker that has done a little when it ends."""
    with LocalKafka(java_options=java_options) as kafka:
        kafka.create_topic("any")
        kafka.stop()
