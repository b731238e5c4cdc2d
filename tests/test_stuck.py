"""A process that hangs says so, shows where, and ends itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest
import requests
from confluent_kafka import Producer

from ops.local_kafka.ports import free_ports
from tests.brokers import Kafka

REASONS = {
    "fetches": "none of the 1 events in flight gets finished",
    "client": "the stream loop does not turn",
}
WHERE = {"fetches": ("thread fetch-", "in decode_for_ever"), "client": ("thread stream:", "in poll_for_ever")}


@dataclass
class Hanging:
    """One process, what it answers while it is alive, and how it ends."""

    process: subprocess.Popen[bytes]
    url: str
    log: IO[bytes]
    reason: str = ""

    def look(self) -> None:
        try:
            answer = requests.get(self.url + "/livez", timeout=2)
        except requests.RequestException:
            return
        if answer.status_code == 503:
            self.reason = answer.json()["reason"]

    def told(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()


@pytest.fixture(scope="module")
def something() -> Iterator[str]:
    """The URL of something that can be fetched."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"something")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def hanging(kafka: Kafka, something: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Hanging]]:
    """Both processes at the same time, watched until they have ended."""
    found = {kind: _start(kafka, kind, something, tmp_path_factory.mktemp("stuck")) for kind in REASONS}
    deadline = time.monotonic() + 60
    while any(one.process.poll() is None for one in found.values()) and time.monotonic() < deadline:
        for one in found.values():
            one.look()
        time.sleep(0.1)
    yield found
    for one in found.values():
        one.process.kill()
        one.process.wait(10)
        one.log.close()


def _start(kafka: Kafka, kind: str, url: str, folder: Path) -> Hanging:
    topics = {name: kafka.unique_topic(name.lower()) for name in ("INPUT_TOPIC", "OUTPUT_TOPIC", "DEAD_LETTER_TOPIC")}
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topics["INPUT_TOPIC"], value=json.dumps({"url": url}).encode())
    assert producer.flush(10) == 0
    (port,) = free_ports(1)
    log = (folder / "log").open("w+b")
    environ = {
        **os.environ,
        **topics,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_GROUP_ID": f"stuck-{uuid.uuid4()}",
        "HTTP_PORT": str(port),
        "FETCH_ALLOW_NETS": "127.0.0.0/8",
        "FETCH_ALLOW_PORTS": "any",
        "LOG_FORMAT": "text",
    }
    process = subprocess.Popen([sys.executable, "-m", "tests.stuck_service", kind], env=environ, stdout=log, stderr=log)
    return Hanging(process, f"http://127.0.0.1:{port}", log)


@pytest.mark.parametrize("kind", REASONS)
def test_it_is_not_live_logs_every_stack_and_ends_with_5(hanging: dict[str, Hanging], kind: str) -> None:
    one = hanging[kind]
    told = one.told()
    assert one.process.poll() == 5, told
    assert one.reason.startswith(REASONS[kind]), told
    assert told.count("; all threads:") == 1
    for where in WHERE[kind]:
        assert where in told
    assert f"ERROR   consumer.cli: stuck: {REASONS[kind]}" in told
