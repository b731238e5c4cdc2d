"""Where reading begins while the brokers do not tell what is asked of them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from consumer.stream.identity import TopicIdentity
from consumer.stream.placement import AGAIN_S, ASK_S, FIRST, Placement

SILENT = KafkaException(KafkaError(KafkaError._TIMED_OUT))
EAGER = KafkaException(KafkaError(KafkaError._STATE))


class Brokers:
    """A consumer whose brokers answer what they are told to; it notes where reading begins."""

    def __init__(self) -> None:
        self.mark: str | None = None
        """What stands beside every committed offset; null while the group's coordinator is silent."""
        self.offset = 5000
        self.low: int | None = 0
        """The first offset that every partition has; null while their leaders are silent."""
        self.eager = False
        self.asked = 0
        self.begun: list[tuple[int, int]] = []

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.asked += 1
        if self.mark is None:
            raise SILENT
        return [TopicPartition(one.topic, one.partition, self.offset, self.mark) for one in partitions]

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        self.asked += 1
        if self.low is None:
            raise SILENT
        return self.low, 9000

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        if self.eager:
            raise EAGER

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.begun += [(one.partition, one.offset) for one in partitions]

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.begun = [(one.partition, one.offset) for one in partitions]


class Identity:
    """Knows one topic, and whether it is the one that is there now."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self.known = True

    def is_foreign(self, mark: str | None) -> bool:
        return mark == "former"

    def look_now(self) -> bool:
        self._brokers.asked += 1
        return self.known


class Stage:
    """A placement of some new partitions, and the time."""

    def __init__(self, partitions: int = 1) -> None:
        self.now = 1000.0
        self.brokers = Brokers()
        self.identity: Any = Identity(self.brokers)
        self.placement = Placement(
            cast(Consumer, self.brokers), "in", cast(TopicIdentity, self.identity), strict=False, clock=lambda: self.now
        )
        self.placement.assigned(range(partitions))

    def settle(self) -> None:
        self.placement.settle()
        self.placement.begin()

    def turn(self) -> int:
        """One turn of the loop, a while after the last; how often something was asked."""
        asked = self.brokers.asked
        self.settle()
        self.now += AGAIN_S
        return self.brokers.asked - asked


@pytest.mark.parametrize(("mark", "begins_at"), [("former", FIRST), ("this", 5000)])
def test_nothing_is_read_before_it_is_known_to_which_topic_the_offset_belongs(mark: str, begins_at: int) -> None:
    stage = Stage()
    assert not stage.placement.arrived(0, 5000, 5001)
    stage.settle()
    assert not stage.placement.arrived(0, 5001, 5002)
    assert stage.brokers.begun == []
    stage.brokers.mark = mark
    stage.now += AGAIN_S
    stage.settle()
    assert stage.brokers.begun == [(0, begins_at)]
    assert stage.placement.arrived(0, begins_at, begins_at + 1)


@pytest.mark.parametrize("mark", ["this", None])
def test_what_was_published_since_librdkafka_asked_is_not_begun_again(mark: str | None) -> None:
    """Found by seed 3104633 (zombies): a newer process of the same name had done so."""
    stage = Stage()
    stage.brokers.mark = mark
    assert not stage.placement.arrived(0, 4998, 4999)
    stage.brokers.mark = "this"
    stage.now += AGAIN_S
    stage.settle()
    assert stage.brokers.begun == [(0, 5000)]
    assert stage.placement.arrived(0, 5000, 5001)


def test_a_turn_waits_for_one_answer_however_many_partitions_there_are() -> None:
    stage = Stage(2)
    for partition in (0, 1):
        assert not stage.placement.arrived(partition, 5000, 5001)
        stage.settle()
    assert stage.brokers.asked == 1


def test_a_turn_waits_for_one_silent_leader_however_many_partitions_are_refused() -> None:
    stage = Stage(30)
    stage.brokers.mark, stage.brokers.low = "this", None
    for partition in range(30):
        stage.placement.refused(partition, 5000)
    assert stage.turn() == 2  # what is committed, which is answered, and where one partition begins, which is not
    assert stage.brokers.begun == [(0, 5000)]
    stage.brokers.low = 7000
    assert stage.turn() == 30
    assert stage.brokers.begun[1:] == [(partition, 7000) for partition in range(1, 30)]


def test_a_turn_ends_however_slowly_the_leaders_of_refused_partitions_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(30)
    stage.brokers.mark = "this"
    answer = stage.brokers.get_watermark_offsets

    def slowly(partition: TopicPartition, timeout: float) -> tuple[int, int]:
        stage.now += 0.4 * ASK_S
        return answer(partition, timeout)

    monkeypatch.setattr(stage.brokers, "get_watermark_offsets", slowly)
    for partition in range(30):
        stage.placement.refused(partition, 5000)
    assert stage.turn() == 1 + 3
    while len(stage.brokers.begun) < 30:
        stage.turn()
    assert sorted(stage.brokers.begun) == [(partition, 5000) for partition in range(30)]


def test_nothing_is_begun_as_the_first_of_a_new_topic_before_it_is_known_which_topic_is_there() -> None:
    stage = Stage(30)
    stage.brokers.mark, stage.identity.known = "former", False
    stage.placement.unheard()
    assert stage.turn() == 2
    assert stage.brokers.begun == []
    stage.identity.known = True
    stage.turn()
    assert stage.brokers.begun == [(partition, FIRST) for partition in range(30)]


def test_with_one_partition_whatever_is_new_begins() -> None:
    stage = Stage(3)
    stage.brokers.mark = "this"
    assert stage.placement.arrived(0, 5000, 5001)
    stage.placement.refused(1, None)
    stage.settle()
    assert stage.brokers.begun == [(1, 5000), (2, 5000)]


def test_under_an_eager_assignor_the_others_go_on_where_they_are_and_nothing_is_asked_again() -> None:
    stage = Stage(4)
    stage.brokers.mark, stage.brokers.low, stage.brokers.eager = "this", None, True
    assert stage.placement.arrived(0, 6000, 6000)  # its end: a place that librdkafka's `position` does not know
    assert stage.placement.arrived(1, 5000, 5001)
    stage.placement.refused(2, None)
    stage.settle()
    assert stage.brokers.begun == [(0, 6000), (1, 5001), (2, 5000), (3, 5000)]
    stage.placement.refused(2, 5000)
    stage.placement.refused(3, 5000)
    stage.settle()  # begins one of them, although nobody says from where on, and keeps the other
    assert stage.brokers.begun == [(0, 6000), (1, 5001), (2, 5000)]
    stage.brokers.low = 7000
    stage.turn()
    stage.turn()
    assert stage.brokers.begun == [(0, 6000), (1, 5001), (2, 5000), (3, 7000)]


def test_a_partition_that_is_taken_away_meanwhile_is_not_begun() -> None:
    stage = Stage()
    stage.placement.arrived(0, 5000, 5001)
    stage.placement.forget([0])
    stage.brokers.mark = "this"
    stage.now += AGAIN_S
    stage.settle()
    assert stage.brokers.begun == []


def test_a_refusal_of_before_the_assignment_does_not_say_where_to_begin() -> None:
    stage = Stage(2)
    stage.brokers.mark = "this"
    stage.placement.refused(0, None)  # nothing was committed then; others have gone on since
    stage.placement.refused(1, 17)
    stage.settle()
    assert stage.brokers.begun == [(0, 5000), (1, 5000)]


@pytest.mark.parametrize("offset", [None, 17])
def test_a_refusal_of_before_it_was_begun_from_here_begins_nothing_anew(offset: int | None) -> None:
    stage = Stage()
    stage.brokers.mark = "this"
    stage.placement.unheard()
    stage.settle()
    stage.placement.refused(0, offset)
    stage.settle()
    assert stage.brokers.begun == [(0, 5000)]


def test_the_first_record_may_be_gone_before_it_is_read() -> None:
    stage = Stage()
    stage.brokers.mark, stage.brokers.offset = "", OFFSET_INVALID
    stage.placement.refused(0, None)
    stage.settle()
    stage.placement.refused(0, 3)  # where the first record was
    stage.settle()
    assert stage.brokers.begun == [(0, FIRST), (0, FIRST)]


def test_what_was_read_is_not_begun_anew_where_nothing_is_committed_yet() -> None:
    stage = Stage()
    stage.brokers.mark, stage.brokers.offset = "", OFFSET_INVALID
    assert stage.placement.arrived(0, 0, 1)
    stage.placement.refused(0, 1)
    stage.settle()
    assert stage.brokers.begun == [(0, 1)]


def test_what_librdkafka_does_not_ask_again_is_asked_until_it_is_known() -> None:
    stage = Stage(2)
    stage.placement.unheard()
    stage.settle()
    assert stage.brokers.begun == []
    stage.brokers.mark = "this"
    stage.now += AGAIN_S
    stage.settle()
    assert sorted(stage.brokers.begun) == [(0, 5000), (1, 5000)]


def test_what_has_been_heard_of_is_not_begun_again() -> None:
    stage = Stage(2)
    stage.brokers.mark = "this"
    assert stage.placement.arrived(0, 5000, 5001)
    stage.placement.unheard()
    stage.settle()
    assert stage.brokers.begun == [(1, 5000)]
