"""Where reading begins while the broker does not tell to which topic a committed offset belongs."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from consumer.stream.identity import TopicIdentity
from consumer.stream.placement import AGAIN_S, FIRST, Placement

SILENT = KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Coordinator:
    """A consumer whose coordinator answers what it is told to; it notes where reading begins."""

    def __init__(self) -> None:
        self.mark: str | None = None
        self.offset = 5000
        self.asked = 0
        self.begun: list[tuple[int, int]] = []

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.asked += 1
        if self.mark is None:
            raise SILENT
        return [TopicPartition(one.topic, one.partition, self.offset, self.mark) for one in partitions]

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, 9000

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        pass

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.begun += [(one.partition, one.offset) for one in partitions]


class Identity:
    """Knows one topic."""

    def is_foreign(self, mark: str | None) -> bool:
        return mark == "former"

    def look_now(self) -> None:
        pass


class Stage:
    """A placement of two new partitions, and the time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.coordinator = Coordinator()
        identity: Any = Identity()
        self.placement = Placement(
            cast(Consumer, self.coordinator), "in", cast(TopicIdentity, identity), strict=False, clock=lambda: self.now
        )
        self.placement.assigned([0, 1])


@pytest.mark.parametrize(("mark", "begins_at"), [("former", FIRST), ("this", 5000)])
def test_nothing_is_read_before_it_is_known_to_which_topic_the_offset_belongs(mark: str, begins_at: int) -> None:
    stage = Stage()
    assert not stage.placement.arrived(0, 5000, 5001)
    stage.placement.settle()
    assert not stage.placement.arrived(0, 5001, 5002)
    assert stage.coordinator.begun == []
    stage.coordinator.mark = mark
    stage.now += AGAIN_S
    stage.placement.settle()
    assert stage.coordinator.begun == [(0, begins_at)]
    assert stage.placement.arrived(0, begins_at, begins_at + 1)


def test_a_turn_waits_for_one_answer_however_many_partitions_there_are() -> None:
    stage = Stage()
    for partition in (0, 1):
        assert not stage.placement.arrived(partition, 5000, 5001)
        stage.placement.settle()
    assert stage.coordinator.asked == 1


def test_a_partition_that_is_taken_away_meanwhile_is_not_begun() -> None:
    stage = Stage()
    stage.placement.arrived(0, 5000, 5001)
    stage.placement.forget([0])
    stage.coordinator.mark = "this"
    stage.now += AGAIN_S
    stage.placement.settle()
    assert stage.coordinator.begun == []


def test_a_refusal_of_before_the_assignment_does_not_say_where_to_begin() -> None:
    stage = Stage()
    stage.coordinator.mark = "this"
    stage.placement.refused(0, None)  # nothing was committed then; others have gone on since
    stage.placement.refused(1, 17)
    stage.placement.settle()
    assert stage.coordinator.begun == [(0, 5000), (1, 5000)]


def test_what_was_read_is_not_begun_anew_where_nothing_is_committed_yet() -> None:
    stage = Stage()
    stage.coordinator.mark, stage.coordinator.offset = "", OFFSET_INVALID
    assert stage.placement.arrived(0, 0, 1)
    stage.placement.refused(0, 1)
    stage.placement.settle()
    assert stage.coordinator.begun == [(0, 1)]


def test_what_librdkafka_does_not_ask_again_is_asked_until_it_is_known() -> None:
    stage = Stage()
    stage.placement.unheard()
    stage.placement.settle()
    assert stage.coordinator.begun == []
    stage.coordinator.mark = "this"
    stage.now += AGAIN_S
    stage.placement.settle()
    assert sorted(stage.coordinator.begun) == [(0, 5000), (1, 5000)]


def test_what_has_been_heard_of_is_not_begun_again() -> None:
    stage = Stage()
    stage.coordinator.mark = "this"
    assert stage.placement.arrived(0, 5000, 5001)
    stage.placement.unheard()
    stage.placement.settle()
    assert stage.coordinator.begun == [(1, 5000)]
