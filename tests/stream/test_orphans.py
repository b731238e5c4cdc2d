"""A member with a stable name that dies between the two rounds of a cooperative rebalance."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException

from consumer.settings import Settings
from consumer.stream.clients import Instance, consumer_config
from consumer.stream.orphans import LOOK_EVERY_S, LOOKS, PATIENCE_S, Orphans
from ops.local_kafka import LocalKafka, jars
from tests.brokers import Kafka
from tests.stream.stage import PARTITIONS, Member, ShuffledWork, Stage, assert_each_once_and_in_order

DIES_BETWEEN_THE_ROUNDS = """
import os, sys
from confluent_kafka import Consumer
servers, group, topic = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": servers, "group.id": group, "group.instance.id": "a", "session.timeout.ms": 10000,
    "heartbeat.interval.ms": 1000, "partition.assignment.strategy": "cooperative-sticky",
})
consumer.subscribe(
    [topic],
    on_assign=lambda _, partitions: print(len(partitions), flush=True),
    on_revoke=lambda _, partitions: os.kill(os.getpid(), 9),
)
while True:
    consumer.poll(0.1)
"""


ASKS_WHILE_THE_BROKER_IS_AWAY = """
import concurrent.futures, sys, time
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from consumer.stream.orphans import Orphans
admin = AdminClient({"bootstrap.servers": sys.argv[1], "log_level": 0})
admin.list_topics(timeout=30)
print("connected", flush=True)
sys.stdin.readline()
orphans = Orphans(lambda: admin, "g", "t", clock=lambda: 100 * time.monotonic())
orphans.changed()
time.sleep(0.1)
orphans.found()
asked = orphans._asked
print("asked", flush=True)
sys.stdin.readline()
concurrent.futures.wait([asked], 60)
while True:  # until the coordinator is found, which is when librdkafka aborted
    try:
        print(admin.describe_consumer_groups(["g"], request_timeout=60)["g"].result().state.name, flush=True)
        break
    except KafkaException:
        time.sleep(0.1)
"""


class Admin:
    """Answers what it is told, at once or never."""

    def __init__(self) -> None:
        self.state = ConsumerGroupState.STABLE
        self.assigned: list[list[int]] = []
        self.error: KafkaException | None = None
        self.silent = False
        self.asked = 0

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> Mapping[str, Future[Any]]:
        self.asked += 1
        future: Future[Any] = Future()
        members = [
            SimpleNamespace(
                assignment=SimpleNamespace(topic_partitions=[SimpleNamespace(topic="t", partition=p) for p in of])
            )
            for of in self.assigned
        ]
        if self.error is not None:
            future.set_exception(self.error)
        elif not self.silent:
            future.set_result(SimpleNamespace(state=self.state, members=members))
        return {groups[0]: future}

    def describe_topics(self, topics: Any, request_timeout: float) -> Mapping[str, Future[Any]]:
        future: Future[Any] = Future()
        future.set_result(SimpleNamespace(partitions=[SimpleNamespace(id=number) for number in range(4)]))
        return {"t": future}


class Watch:
    """Orphans with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.admin = Admin()
        self.now = 100.0
        self.made = 0
        self.orphans = Orphans(self.make, "g", "t", clock=lambda: self.now)
        self.orphans.changed()

    def make(self) -> Any:
        self.made += 1
        self.admin.error = None
        return self.admin

    def look(self) -> set[int]:
        """Lets the time for one look pass, and gives what it found."""
        self.now += LOOK_EVERY_S
        return set(self.orphans.found() | self.orphans.found())


def test_what_two_looks_in_a_row_find_with_nobody_is_orphaned() -> None:
    watch = Watch()
    watch.admin.assigned = [[0], [3]]
    assert watch.look() == set()
    watch.admin.assigned = [[0, 1], [3]]
    assert watch.look() == {2}


def test_a_group_that_is_rebalancing_has_no_orphans() -> None:
    watch = Watch()
    watch.admin.assigned = [[0]]
    watch.look()
    watch.admin.state = ConsumerGroupState.PREPARING_REBALANCING
    assert watch.look() == set()
    watch.admin.state = ConsumerGroupState.STABLE
    assert watch.look() == set()  # one look is no proof
    assert watch.look() == {1, 2, 3}


def test_a_group_at_rest_is_looked_at_a_few_times_only() -> None:
    watch = Watch()
    watch.admin.assigned = [[0, 1, 2, 3]]
    assert [watch.look() for _ in range(LOOKS + 3)] == [set()] * (LOOKS + 3)
    assert watch.admin.asked == LOOKS
    watch.orphans.changed()
    watch.look()
    assert watch.admin.asked == LOOKS + 1


def test_a_coordinator_that_has_moved_is_looked_for_by_another_client() -> None:
    watch = Watch()
    watch.admin.assigned = [[0, 1, 2, 3]]
    for _ in range(LOOKS - 1):
        watch.look()
    watch.admin.error = KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))
    watch.look()
    watch.admin.assigned = [[0]]
    assert watch.made == 2
    assert [watch.look(), watch.look()] == [set(), {1, 2, 3}]


def test_a_coordinator_that_does_not_answer_any_more_is_looked_for_by_another_client() -> None:
    watch = Watch()
    watch.admin.assigned = [[0, 1], [2]]
    watch.admin.silent = True
    assert watch.look() == set()
    watch.admin.silent = False
    assert watch.look() == set()
    assert watch.made == 1
    watch.now += PATIENCE_S
    assert watch.look() == set()
    assert watch.made == 2
    assert watch.look() == set()
    assert watch.look() == {3}


def test_a_question_of_before_a_change_is_not_waited_for_after_it() -> None:
    watch = Watch()
    watch.admin.silent = True
    assert watch.look() == set()
    watch.orphans.changed()
    assert watch.made == 2


def test_who_may_not_look_at_the_group_asks_no_more() -> None:
    watch = Watch()
    watch.admin.error = KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
    assert [watch.look() for _ in range(LOOKS)] == [set()] * LOOKS
    assert watch.admin.asked == 1


def test_a_group_that_nobody_tells_of_is_asked_about_until_it_was_seen_as_often_as_after_any_change() -> None:
    watch = Watch()
    watch.admin.silent = True
    for _ in range(3 * LOOKS):
        watch.look()
        watch.now += PATIENCE_S
        watch.look()
    watch.admin.silent = False
    watch.admin.assigned = [[0, 1, 2, 3]]
    watch.admin.asked = 0
    for _ in range(3 * LOOKS):
        watch.look()
    assert watch.admin.asked in (LOOKS, LOOKS + 1)


@pytest.mark.parametrize(
    ("given", "looks"),
    [
        ({"INSTANCE_ID": "a"}, True),
        ({}, False),
        ({"INSTANCE_ID": "a", "KAFKA_PARTITION_ASSIGNMENT_STRATEGY": "range"}, False),
        ({"INSTANCE_ID": "a", "KAFKA_GROUP_PROTOCOL": "consumer"}, False),
    ],
)
def test_only_a_stable_name_in_a_cooperative_group_has_a_reason_to_look(given: dict[str, str], looks: bool) -> None:
    settings = Settings.from_env({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"} | given)
    assert (Orphans.of(settings, Instance.of(settings)) is not None) is looks


def test_a_stable_name_is_a_place_in_the_group_only_where_a_restart_can_take_it() -> None:
    def place(**given: str) -> str | None:
        settings = Settings.from_env({"INSTANCE_ID": "a"} | given)
        found: str | None = consumer_config(settings, Instance.of(settings)).get("group.instance.id")
        return found

    assert place() == "a"
    assert place(KAFKA_GROUP_PROTOCOL="consumer") is None


def test_partitions_that_a_death_between_two_rounds_left_with_nobody_are_read_again(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once")
    arguments = [kafka.bootstrap_servers, stage.settings.kafka.group_id, stage.input]
    dies = subprocess.Popen([sys.executable, "-c", DIES_BETWEEN_THE_ROUNDS, *arguments], stdout=subprocess.PIPE)
    assert dies.stdout is not None
    assert int(dies.stdout.readline()) == PARTITIONS
    other = Member(stage.named("b"), ShuffledWork(stage.output, seed=1))
    assert dies.wait(30) == -9
    dies.stdout.close()
    again = Member(stage.named("a"), ShuffledWork(stage.output, seed=2))
    stage.publish(60)
    outcomes = stage.outcomes(at_least=60, within_s=30)
    other.stop()
    again.stop()
    assert_each_once_and_in_order(stage, outcomes)


@pytest.mark.slow
@pytest.mark.kafka
def test_a_look_at_the_group_outlives_a_broker_that_is_away_for_longer_than_any_answer_takes() -> None:
    if reason := jars.why_not():
        pytest.skip(f"no Apache Kafka: {reason}")
    with LocalKafka(1) as kafka:
        command = [sys.executable, "-c", ASKS_WHILE_THE_BROKER_IS_AWAY, kafka.bootstrap_servers]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asker:
            assert asker.stdin is not None
            assert asker.stdout is not None
            assert asker.stdout.readline() == "connected\n"
            kafka.kill()
            asker.stdin.write("\n")
            asker.stdin.flush()
            assert asker.stdout.readline() == "asked\n"
            time.sleep(6.0)  # the outage itself: 5 s were once all that an answer could take
            kafka.start()
            asker.stdin.write("\n")
            asker.stdin.flush()
            assert asker.stdout.read() == "DEAD\n"  # as a group is that has no members
            assert asker.wait(10) == 0  # librdkafka #4605 was SIGABRT
