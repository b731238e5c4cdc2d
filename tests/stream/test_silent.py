"""A partition that does not begin is told of: in the log, by ``/readyz``, on ``/status``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.health import Health
from consumer.stream import silent
from consumer.stream.silent import SILENT_S, Silent
from consumer.stream.source import Source
from tests.brokers import Kafka
from tests.stream.stage import Member, ShuffledWork, Stage, assert_each_once_and_in_order


class Assignment:
    """Partitions of which nothing has come, with whether they are paused, and a look at them every second."""

    def __init__(self, *partitions: int) -> None:
        self.partitions = dict.fromkeys(partitions, False)
        self.now = 1000.0
        self.health = Health(60.0, clock=lambda: self.now)
        self.health.running()
        self._silent = Silent(cast(Source, self), self.health, "in", lambda: self.now)

    def unbegun(self) -> dict[int, bool]:
        return self.partitions

    def wait(self, seconds: float) -> set[int]:
        for _ in range(int(seconds)):
            self.now += 1.0
            found = self._silent.look(self.now)
        return found


def test_readiness_is_held_until_the_last_partition_begins_and_a_line_in_30_s_names_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = Assignment(0, 3)
    assert group.wait(SILENT_S) == set()
    assert group.health.ready().ok
    assert group.wait(2) == {0, 3}
    (reason,) = group.health.ready().reasons
    assert reason.name == "offsets"
    assert reason.text.startswith("partitions [0, 3] of in do not begin: neither a record nor their end has come")
    assert group.wait(25) == {0, 3}
    assert [one.getMessage() for one in caplog.records] == [reason.text]
    del group.partitions[0]
    assert group.wait(10) == {3}
    assert caplog.records[1].getMessage().startswith("partitions [3] of in")
    group.partitions.clear()
    assert group.wait(1) == set()
    assert group.health.ready().ok
    group.partitions[3] = False  # once more ours, and silent from now on
    assert group.wait(SILENT_S) == set()


def test_a_partition_that_is_paused_waits_for_nothing() -> None:
    group = Assignment(0)
    group.wait(SILENT_S / 2)
    group.partitions[0] = True
    assert group.wait(100 * SILENT_S) == set()
    group.partitions[0] = False
    assert group.wait(SILENT_S / 2) == set()
    assert group.wait(2) == {0}


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_an_assignment_is_told_of_while_a_transaction_is_open_on_offsets_of_it_and_begins_by_itself(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(silent, "SILENT_S", 2.0)
    stage = Stage(kafka, "exactly-once")
    member_of = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": stage.settings.kafka.group_id})
    other = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"other-{stage.input}"})
    other.init_transactions(20)
    other.begin_transaction()
    places = [TopicPartition(stage.input, 0, 0)]
    other.send_offsets_to_transaction(places, member_of.consumer_group_metadata(), 20)
    member_of.close()
    stage.publish(20, partition=0)  # the others are empty: their end is all that will come of them
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    wait_for(lambda: [one.name for one in member.health.ready().reasons] == ["offsets"])
    wait_for(lambda: (told := member.loop.status) is not None and any(one.silent for one in told.partitions))
    assert member.loop.status is not None
    assert [one.partition for one in member.loop.status.partitions if one.silent] == [0, 1, 2]
    other.abort_transaction(20)
    wait_for(lambda: member.health.ready().ok)
    outcomes = stage.outcomes(at_least=20)
    member.stop()
    assert_each_once_and_in_order(stage, outcomes)
    told = [one.getMessage() for one in caplog.records if "do not begin" in one.getMessage()]
    assert len(told) == 1
    assert told[0].startswith(f"partitions [0, 1, 2] of {stage.input} do not begin")
