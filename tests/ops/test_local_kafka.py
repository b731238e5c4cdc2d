"""The broker that the other tests stand on does what it says, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ops.local_kafka import LocalKafka, LocalKafkaError, jars, topics
from ops.local_kafka.properties import SideDoor, broker_properties

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(jars.why_not() is not None, reason=f"no local Apache Kafka: {jars.why_not()}"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalKafka]:
    with LocalKafka() as kafka:
        yield kafka


def write_in_transaction(servers: str, topic: str, values: list[bytes], *, commit: bool = True) -> None:
    producer = Producer({"bootstrap.servers": servers, "transactional.id": f"writer-of-{topic}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=0)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def read_committed(servers: str, topic: str, count: int) -> list[bytes | None]:
    """The first ``count`` committed values of partition 0; fewer if they do not come in 30 s."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline = time.monotonic() + 30
    values: list[bytes | None] = []
    try:
        while len(values) < count and time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                values.append(message.value())
    finally:
        consumer.close()
    return values


def java_processes(folder: Path) -> list[int]:
    """Brokers that were started with the properties of this folder."""
    told = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=1) for line in told.splitlines() if f"{folder}/broker-" in line]
    return [int(pid) for pid, arguments in lines if "kafka.Kafka" in arguments]


def until(condition: Callable[[], bool], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not so after {limit_s} s"
        time.sleep(0.02)


def test_a_transaction_is_read_when_committed_and_not_when_aborted(local: LocalKafka) -> None:
    local.create_topic("transactions")
    write_in_transaction(local.bootstrap_servers, "transactions", [b"aborted"], commit=False)
    write_in_transaction(local.bootstrap_servers, "transactions", [b"one", b"two"])
    assert read_committed(local.bootstrap_servers, "transactions", 2) == [b"one", b"two"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_broker_comes_back_on_its_port_with_its_data(local: LocalKafka, end: str) -> None:
    topic, address = f"kept-through-{end}", local.bootstrap_servers
    local.create_topic(topic, partitions=2)
    write_in_transaction(address, topic, [b"one", b"two"])
    assert read_committed(address, topic, 2) == [b"one", b"two"]  # see LocalKafka.kill for why before it too
    getattr(local, end)()
    assert java_processes(local.folder) == []
    local.start()
    assert local.bootstrap_servers == address
    assert read_committed(address, topic, 2) == [b"one", b"two"]
    write_in_transaction(address, topic, [b"three"])
    assert read_committed(address, topic, 3) == [b"one", b"two", b"three"]


def test_a_paused_broker_answers_again_when_it_is_resumed(local: LocalKafka) -> None:
    local.pause()
    assert not topics.answers(local.bootstrap_servers, lambda _: True)
    local.resume()
    local.create_topic("made-after-a-pause")


@pytest.mark.slow
def test_a_topic_is_replicated_and_outlives_one_broker_of_three(kafka_cluster: LocalKafka) -> None:
    kafka_cluster.create_topic("survivor")
    write_in_transaction(kafka_cluster.bootstrap_servers, "survivor", [b"one"])
    kafka_cluster.kill(1)
    write_in_transaction(kafka_cluster.bootstrap_servers, "survivor", [b"two"])
    kafka_cluster.start(1)
    kafka_cluster.stop(2)
    assert read_committed(kafka_cluster.bootstrap_servers, "survivor", 2) == [b"one", b"two"]
    kafka_cluster.start(2)


def test_nothing_is_left_when_the_block_ends() -> None:
    with LocalKafka() as kafka:
        folder = kafka.folder
        assert len(java_processes(folder)) == 1
    assert java_processes(folder) == []
    assert not folder.exists()


def test_nothing_is_left_when_the_process_that_started_it_is_killed() -> None:
    command = [sys.executable, "-m", "ops.local_kafka", "--topics", "a:2,b"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        folder = Path(next(line for line in process.stdout if "files in" in line).rpartition(" ")[2].strip())
        assert len(java_processes(folder)) == 1
    finally:
        process.kill()
        process.communicate()
    until(lambda: not java_processes(folder) and not folder.exists())


def test_a_broker_that_does_not_start_says_why(tmp_path: Path) -> None:
    wrong = {"log.retention.ms": "for ever"}
    with pytest.raises(LocalKafkaError, match=r"log\.retention\.ms"), LocalKafka(folder=tmp_path, properties=wrong):
        pass
    assert java_processes(tmp_path) == []
    assert "log.retention.ms" in (tmp_path / "broker-1.log").read_text("utf-8")


@pytest.mark.parametrize("arguments", [["--brokers", "2"], ["--topics", "a:none"]])
def test_the_command_refuses_what_it_cannot_do(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ops.local_kafka", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_a_side_door_is_a_second_listener_that_names_another_address(tmp_path: Path) -> None:
    side = SideDoor(listens_at="127.0.0.1:3", told="127.0.0.1:4")
    properties = broker_properties(1, "127.0.0.1:1", {1: "127.0.0.1:2"}, tmp_path, side)
    assert properties["listeners"] == "CLIENTS://127.0.0.1:1,SIDE://127.0.0.1:3,CONTROLLER://127.0.0.1:2"
    assert properties["advertised.listeners"] == "CLIENTS://127.0.0.1:1,SIDE://127.0.0.1:4"
    assert properties["inter.broker.listener.name"] == "CLIENTS"
