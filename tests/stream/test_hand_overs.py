"""While the group's coordinator takes no offsets, producers are not tied to it one after the other."""

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from consumer.stream.hand_overs import MOST_PATIENCE_S, MOST_WAITING, PATIENCE_S, HandOvers
from consumer.stream.source import Source
from consumer.stream.timely import TimelyProducer


class Coordinator:
    """A source whose coordinator answers, or does not."""

    def __init__(self) -> None:
        self.answers = False
        self.asked = 0

    def committed(self, partitions: list[int], timeout_s: float) -> dict[int, int] | None:
        assert timeout_s >= 0  # less means without end to librdkafka
        self.asked += 1
        return dict.fromkeys(partitions, 0) if self.answers else None


class Stage:
    """Hand-overs, and the time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.coordinator = Coordinator()
        self.hand_overs = HandOvers(cast("Source", self.coordinator), lambda: self.now)
        self.waiting: list[TimelyProducer] = []

    def may_begin(self, budget_s: float = 8.0) -> bool:
        return self.hand_overs.may_begin([0], budget_s)

    def lose_a_producer(self) -> None:
        producer = TimelyProducer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
        self.waiting.append(producer)
        self.hand_overs.unanswered(producer)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_coordinator_that_takes_offsets_is_not_asked(stage: Stage) -> None:
    assert stage.may_begin()
    assert stage.coordinator.asked == 0


def test_one_that_did_not_take_them_is_asked_until_it_does(stage: Stage) -> None:
    stage.lose_a_producer()
    assert not stage.may_begin()
    assert not stage.may_begin(budget_s=-0.1)
    stage.coordinator.answers = True
    assert stage.may_begin()
    stage.hand_overs.answered()
    asked = stage.coordinator.asked
    assert stage.may_begin()
    assert stage.coordinator.asked == asked


def test_where_it_answers_and_takes_none_two_producers_wait_and_then_few(stage: Stage) -> None:
    stage.coordinator.answers = True
    for _ in range(MOST_WAITING):
        assert stage.may_begin()
        stage.lose_a_producer()
    for patience_s in (PATIENCE_S, 2 * PATIENCE_S, 4 * PATIENCE_S, 8 * PATIENCE_S, MOST_PATIENCE_S, MOST_PATIENCE_S):
        assert not stage.may_begin()
        stage.now += patience_s - 1.0
        assert not stage.may_begin()
        stage.now += 1.0
        assert stage.may_begin()
        stage.lose_a_producer()


def test_a_producer_that_librdkafka_has_answered_does_not_count(stage: Stage) -> None:
    stage.coordinator.answers = True
    for _ in range(MOST_WAITING):
        stage.lose_a_producer()
    assert not stage.may_begin()
    stage.waiting.pop()  # a thread destroys it
    late = time.monotonic() + 20
    while not stage.may_begin():
        assert time.monotonic() < late
        threading.Event().wait(0.001)


def test_those_of_a_trouble_that_is_over_do_not_count(stage: Stage) -> None:
    """A coordinator that goes away twice in ten minutes, as in a rolling restart."""
    stage.coordinator.answers = True
    for _ in range(MOST_WAITING):
        stage.lose_a_producer()
    stage.now += PATIENCE_S
    assert stage.may_begin()
    stage.hand_overs.answered()
    stage.lose_a_producer()
    assert stage.may_begin()
