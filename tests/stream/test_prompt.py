"""How long a partition that moves in a rebalance is with nobody."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

from confluent_kafka import Consumer, TopicPartition

from consumer.stream.prompt import PromptConsumer
from tests.brokers import Kafka

JOINS = 3
LONGEST_S = 0.8 * JOINS
"""All of them together. Left to itself, librdkafka takes a second for each."""
AT_REST_S = 1.1
"""How long a group must have been at rest for that: librdkafka counts the second from a member's last join."""


class Member:
    """A member of a group that notes what it is given and what it gives up, on a thread of its own."""

    def __init__(self, kafka: Kafka, group: str, topic: str, note: Callable[[str, list[int]], None]) -> None:
        config = {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": group,
            "partition.assignment.strategy": "cooperative-sticky",
            "heartbeat.interval.ms": 300,
            "session.timeout.ms": 10_000,
            "log_level": 0,
        }
        self._consumer = PromptConsumer(config)

        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            note("assigned", [one.partition for one in partitions])

        def revoked(_: Consumer, partitions: list[TopicPartition]) -> None:
            note("revoked", [one.partition for one in partitions])

        self._consumer.subscribe([topic], assigned, on_revoke=revoked)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.is_set():
            self._consumer.poll(0.05)
        self._consumer.close()


class Moves:
    """Who holds what, and how long each partition was with nobody."""

    def __init__(self, partitions: int) -> None:
        self._held: set[int] = set()
        self._all = set(range(partitions))
        self._given_up: dict[int, float] = {}
        self._changed = threading.Condition()
        self.longest_s = 0.0

    def note(self, what: str, partitions: list[int]) -> None:
        with self._changed:
            for partition in partitions:
                if what == "revoked":
                    self._held.discard(partition)
                    self._given_up[partition] = time.monotonic()
                else:
                    self._held.add(partition)
                    since = self._given_up.pop(partition, None)
                    if since is not None:
                        self.longest_s = max(self.longest_s, time.monotonic() - since)
            self._changed.notify_all()

    def wait_until_moved(self) -> float:
        """Waits until something was given up and all are held again; the longest time in between, in seconds."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.longest_s > 0 and self._held == self._all, 20)
            longest, self.longest_s = self.longest_s, 0.0
            return longest

    def wait_until_held(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._held == self._all, 20)


def test_a_partition_that_moves_to_a_joining_member_is_with_nobody_for_less_than_a_second(kafka: Kafka) -> None:
    topic, group, moves = kafka.unique_topic("in", 6), f"group-{uuid.uuid4()}", Moves(6)
    first = Member(kafka, group, topic, moves.note)
    moves.wait_until_held()
    second = Member(kafka, group, topic, moves.note)
    moves.wait_until_moved()
    total = 0.0
    for _ in range(JOINS):
        time.sleep(AT_REST_S)
        third = Member(kafka, group, topic, moves.note)
        total += moves.wait_until_moved()
        third.stop()
        moves.wait_until_moved()
    first.stop()
    second.stop()
    assert total < LONGEST_S


class Counting(PromptConsumer):
    """Counts how often it is woken for nothing else."""

    woken = 0

    def memberid(self) -> str:
        self.woken += 1
        name: str = super().memberid()
        return name


def test_a_consumer_that_was_asked_something_is_not_woken_once_more() -> None:
    idle, busy = (Counting({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0}) for _ in range(2))
    busy.consumer_group_metadata()
    for one in (idle, busy):
        one.poll(0)
        one.close()
    assert (idle.woken, busy.woken) == (1, 0)
