"""What is measured end to end, as processes: the service, and the baselines beside it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from subprocess import Popen
from types import MappingProxyType

import requests

from ops.bench.processes import BenchError, started, tail
from ops.bench.traffic import Groups, Traffic
from ops.local_kafka import LocalKafka
from ops.local_kafka.ports import free_ports

PARTITIONS = 6
READY_S = 180.0
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every system finds there: a broker, an image server, a folder for logs."""

    kafka: LocalKafka
    images: Popen[bytes]
    image_port: int
    folder: Path

    def topics(self) -> tuple[str, str, str]:
        """A fresh input topic, output topic and dead-letter topic."""
        number = next(_numbers)
        names = (f"urls-{number}", f"predictions-{number}", f"urls-{number}.dead-letter")
        for name in names:
            self.kafka.create_topic(name, PARTITIONS)
        return names

    def groups(self, *service: Popen[bytes]) -> Groups:
        """Whose CPU is read while the processes of ``service`` are under load."""
        roots = {"service": [one.pid for one in service], "broker": self.kafka.pids, "images": [self.images.pid]}
        return Groups(roots)


@contextmanager
def surroundings(folder: Path) -> Iterator[Surroundings]:
    """A broker and an image server, ended with the block."""
    (port,) = free_ports(1)
    with (
        LocalKafka(brokers=1) as kafka,
        started("images", ["-m", "ops.bench.image_server", str(port)], folder) as images,
    ):
        await_line(images, folder / "images.log")
        yield Surroundings(kafka, images, port, folder)


@dataclass(frozen=True, slots=True)
class Running:
    """A service under test.

    Attributes:
        traffic: the load on it.
        backend: ``BACKEND PRECISION`` that answers.
        max_batch: most images in one model call.
        start_s: from the start of the first process until all were ready.
    """

    traffic: Traffic
    backend: str
    max_batch: int
    start_s: float
    instances: dict[str, Popen[bytes]]
    """Its processes, by the URL that each listens on."""

    def outcomes(self) -> dict[str, int]:
        """Committed events by outcome, as its metrics say."""
        kinds = ("predicted", "failed", "unreadable")
        return {kind: self.counted(f'image_consumer_events_total{{outcome="{kind}"}}') for kind in kinds}

    def failures(self) -> dict[str, int]:
        """The last events that failed or could not be read, 200 of each instance: code and message → how many."""
        json = {"Accept": "application/json"}
        pages = [requests.get(f"{url}/status", headers=json, timeout=10).json() for url in self.instances]
        return dict(Counter(f"{one['code']}: {one['message']}" for page in pages for one in page["last_failures"]))

    def counted(self, metric: str) -> int:
        """What a metric says, over all instances."""
        texts = [requests.get(f"{url}/metrics", timeout=10).text for url in self.instances]
        lines = [line for text in texts for line in text.splitlines() if line.startswith(f"{metric} ")]
        return sum(round(float(line.rsplit(" ", 1)[1])) for line in lines)


@contextmanager
def service(
    around: Surroundings,
    model: Path,
    backend: str = "auto",
    precision: str = "auto",
    *,
    instances: int = 1,
    own_cores: bool = False,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Running]:
    """``image-consumer run``, exactly-once, with everything else as it is by default, but that it works on each event.

    The image server has 64 pictures: what is spared for images that came before would be no measure of anything.

    Args:
        around: what is there already.
        model: the model's directory.
        backend: ``MODEL_BACKEND``.
        precision: ``MODEL_PRECISION``.
        instances: processes of one group.
        own_cores: whether each has an equal share of the cores to itself, as pods with limits have.
        more: other settings.
    """
    source, target, dead = around.topics()
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": around.kafka.bootstrap_servers,
        "KAFKA_GROUP_ID": source,
        "KAFKA_CONSUMER_AUTO_OFFSET_RESET": "earliest",
        "INPUT_TOPIC": source,
        "OUTPUT_TOPIC": target,
        "DEAD_LETTER_TOPIC": dead,
        "MODEL_PATH": str(model),
        "MODEL_BACKEND": backend,
        "MODEL_PRECISION": precision,
        "MODEL_CACHE_BYTES": "0",
        "FETCH_SHARED": "false",
        "FETCH_ALLOW_NETS": "127.0.0.0/8",
        "FETCH_ALLOW_PORTS": "any",
        "LOG_FORMAT": "json",
        "XDG_CACHE_HOME": str(around.folder / "cache"),  # of this run: its choice of backend is measured here
        **more,
    }
    began = time.monotonic()
    processes: dict[str, Popen[bytes]] = {}
    with ExitStack() as stack:
        for number, port in enumerate(free_ports(instances)):
            name, url = f"{source}-{number}", f"http://127.0.0.1:{port}"
            command = started(name, ["-m", "consumer", "run"], around.folder, **environ, HTTP_PORT=str(port))
            with _on_share(number, instances if own_cores else 1):
                processes[url] = stack.enter_context(command)
            await_answer(processes[url], f"{url}/readyz", around.folder / f"{name}.log")
        start_s = time.monotonic() - began
        status = requests.get(f"{url}/status", headers={"Accept": "application/json"}, timeout=10).json()
        info, size = status["model"], int(status["settings"]["BATCH_MAX_SIZE"])
        groups = around.groups(*processes.values())
        traffic = Traffic(around.kafka.bootstrap_servers, (source, target), PARTITIONS, groups)
        try:
            yield Running(traffic, f"{info['backend']} {info['precision']}", size, start_s, processes)
        finally:
            traffic.close()


@contextmanager
def _on_share(number: int, of: int) -> Iterator[None]:
    """What is started in this block runs on each ``of``-th core, from the ``number``-th on."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[number % of :: of])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def plain_loop(around: Surroundings, model: Path) -> Iterator[Traffic]:
    """`ops.bench.baselines.plain_loop` and the load on it."""
    source, target, _ = around.topics()
    brokers = around.kafka.bootstrap_servers
    command = ["-m", "ops.bench.baselines.plain_loop", str(model), brokers, source, target]
    with started(source, command, around.folder) as process:
        await_line(process, around.folder / f"{source}.log")
        traffic = Traffic(brokers, (source, target), PARTITIONS, around.groups(process))
        try:
            yield traffic
        finally:
            traffic.close()


@contextmanager
def old_api(around: Surroundings, model: Path) -> Iterator[tuple[str, Popen[bytes]]]:
    """`ops.bench.baselines.old_api`: its address and process."""
    (port,) = free_ports(1)
    command = ["-m", "ops.bench.baselines.old_api", str(model), str(port)]
    with started("old-api", command, around.folder) as process:
        url = f"http://127.0.0.1:{port}"
        await_answer(process, f"{url}/openapi.json", around.folder / "old-api.log")
        yield url, process


def await_answer(process: Popen[bytes], url: str, log: Path) -> None:
    """Returns when the path answers 200.

    Raises:
        BenchError: the process ended, or it took longer than `READY_S`.
    """
    until = time.monotonic() + READY_S
    while True:
        _refuse_ended(process, log, until)
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            pass  # it does not listen yet
        time.sleep(0.1)


def await_line(process: Popen[bytes], log: Path) -> None:
    """Returns when the process has said that it is ready."""
    until = time.monotonic() + READY_S
    while "ready" not in log.read_text("utf-8", "replace").splitlines():
        _refuse_ended(process, log, until)
        time.sleep(0.05)


def _refuse_ended(process: Popen[bytes], log: Path, until: float) -> None:
    if process.poll() is not None:
        raise BenchError(f"{log.stem} ended with {process.returncode}:\n{tail(log)}")
    if time.monotonic() > until:
        raise BenchError(f"{log.stem} is not ready after {READY_S:g} s:\n{tail(log)}")
