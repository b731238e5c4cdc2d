"""A start can be followed step by step, and ends at once when it is asked to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from tests.brokers import Kafka

AT_ONCE_S = 1.0


class Start:
    """`image-consumer run` on a broker, with a part of `tests.stuck_service` that hangs; its output line by line."""

    def __init__(self, bootstrap_servers: str, part: str, **settings: str) -> None:
        self.group = f"starting-{uuid.uuid4()}"
        environ = os.environ | settings | {"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, "KAFKA_GROUP_ID": self.group}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stuck_service", part],
            env=environ | {"HTTP_PORT": "0", "LOG_FORMAT": "text"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        while not self.lines or text not in self.lines[-1]:
            line = self.process.stdout.readline()
            assert line, f"it ended before it said {text!r}: {self.lines}"
            self.lines.append(line.rstrip("\n"))

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Asks it to stop; the exit code, and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=30)
        self.lines += output.splitlines()
        return self.process.returncode, time.monotonic() - began

    def messages(self) -> list[str]:
        """The log at level info, seconds left out: of a broker that is up only just there may be a warning."""
        found = [re.fullmatch(r"\S+Z INFO +[\w.]+: (.*)", line) for line in self.lines]
        return [re.sub(r"\d+\.\d s", "N s", one[1]) for one in found if one]


@pytest.fixture
def topics(kafka: Kafka) -> dict[str, str]:
    names = ("INPUT_TOPIC", "OUTPUT_TOPIC", "DEAD_LETTER_TOPIC")
    return {name: kafka.unique_topic(name.lower().replace("_", "-"), 2) for name in names}


@pytest.fixture
def started() -> Iterator[list[Start]]:
    """The processes of a test, none of which outlives it."""
    made: list[Start] = []
    yield made
    for one in made:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("part", ["model", "coordinator"])
def test_a_stop_ends_a_start_inside_a_native_call_at_once_and_the_group_was_never_joined(
    kafka: Kafka, topics: dict[str, str], started: list[Start], part: str
) -> None:
    started.append(start := Start(kafka.bootstrap_servers, part, **topics))
    start.read_until("hangs now")
    code, seconds = start.end()
    assert code == 0, start.lines
    assert seconds < AT_ONCE_S
    assert start.messages()[-1] == "stopped as asked, before the group was joined"
    groups = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).list_consumer_groups(request_timeout=10)
    assert start.group not in {one.group_id for one in groups.result().valid}


def test_a_stop_ends_the_wait_for_a_broker_that_never_answers_at_once(started: list[Start]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(30)
        started.append(start := Start(f"127.0.0.1:{mute.getsockname()[1]}", "nothing"))
        connection, _ = mute.accept()
        with connection:
            code, seconds = start.end(signal.SIGINT)
    assert code == 0, start.lines
    assert seconds < AT_ONCE_S


def test_a_start_tells_each_step_in_a_line_and_a_second_signal_hurries_no_stop(
    kafka: Kafka, topics: dict[str, str], started: list[Start]
) -> None:
    started.append(start := Start(kafka.bootstrap_servers, "nothing", **topics))
    start.read_until("after the start")
    told = [re.sub(r" as \S+;| at http\S+$", "", one) for one in start.messages()]
    told = [one for one in told if "no committed offset" not in one]  # before or after the last line, as it comes
    counted = ", ".join(f"{topic} (2 partitions)" for topic in topics.values())
    assert told == [
        "image-consumer 0.1.0 settings: INPUT_TOPIC, OUTPUT_TOPIC, DEAD_LETTER_TOPIC, HTTP_PORT, LOG_FORMAT, "
        "KAFKA_BOOTSTRAP_SERVERS, KAFKA_GROUP_ID set",
        "HTTP",
        f"1 broker at {kafka.bootstrap_servers} reached in N s: {counted}",
        "the transaction coordinator answered in N s",
        f"joining group {start.group}",
        f"assigned partitions [0, 1] of {topics['INPUT_TOPIC']}",
        "ready N s after the start",
    ]
    start.process.send_signal(signal.SIGTERM)
    start.read_until("stopping")
    code, _ = start.end()
    assert code == 0
    assert start.messages()[-1] == "stopped as asked"
