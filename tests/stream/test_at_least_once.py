"""At-least-once: an outcome counts as published only if the broker has acknowledged it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from consumer.demo.broker import EmbeddedBroker
from consumer.records import Message, Outcome
from consumer.stream.at_least_once import OWED_S, PlainPublisher
from consumer.stream.clients import CommitAnswer
from consumer.stream.commits import AGAIN_AFTER_S
from consumer.stream.protocol import Claim, Publish, Result
from consumer.stream.source import Source
from tests.clock import Clock


class Offsets:
    """Stands for the source: remembers what was committed; fails for a while, or does not answer."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self.failing = False
        self.silent = False
        self.term = 1
        self.commit_answers: deque[CommitAnswer] = deque()

    def terms(self) -> Mapping[int, int]:
        return {0: self.term}

    def commit(self, offsets: Mapping[int, int]) -> None:
        if self.silent:
            return
        answers = [TopicPartition("in", partition, offset) for partition, offset in offsets.items()]
        error = KafkaError(KafkaError._WAIT_COORD) if self.failing else None
        self.commit_answers.append((error, answers))
        if not self.failing:
            self.committed |= offsets


class PurgedProducer(Producer):
    """A purge hits it while its messages are still queued."""

    def flush(self, timeout: float = -1) -> int:
        self.purge()
        return int(super().flush(timeout))


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(("out",)) as made:
        yield made


def publisher(
    broker: EmbeddedBroker, offsets: Offsets, kind: type[Producer] = Producer, clock: Callable[[], float] | None = None
) -> PlainPublisher:
    config = {"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 500 if kind is PurgedProducer else 0}
    made = PlainPublisher(lambda: kind(config), cast(Source, offsets), largest=1_000_000, clock=clock or time.monotonic)
    made.start(1.0)
    return made


def publication(value: bytes = b"x", offset: int = 0) -> Publish:
    outcome = Outcome("predicted", (Message("out", b"key", value, (), 0),))
    return Publish((Claim(0, 1, offset),), (outcome,), {0: offset + 1})


def test_what_the_broker_acknowledged_is_committed(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    assert publisher(broker, offsets).publish(publication(), 10.0).result is Result.COMMITTED
    assert offsets.committed == {0: 1}


def test_a_message_that_was_purged_is_not_out_although_nothing_is_queued_any_more(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    answer = publisher(broker, offsets, PurgedProducer).publish(publication(), 10.0)
    assert answer.result is Result.ABORTED
    assert offsets.committed == {}


class BrokenProducer(Producer):
    """Breaks wherever it is heard, once."""

    breaks: ClassVar[list[str]] = []

    def poll(self, timeout: float = -1) -> int:
        self._break("poll")
        return int(super().poll(timeout))

    def flush(self, timeout: float = -1) -> int:
        self._break("flush")
        return int(super().flush(timeout))

    def _break(self, call: str) -> None:
        if call in self.breaks:
            self.breaks.remove(call)
            raise KafkaException(KafkaError(KafkaError._FATAL, "out of sequence", fatal=True))


@pytest.mark.parametrize("call", ["poll", "flush"])
def test_a_producer_that_broke_is_replaced_wherever_it_tells_that(broker: EmbeddedBroker, call: str) -> None:
    offsets = Offsets()
    made = publisher(broker, offsets, BrokenProducer)
    BrokenProducer.breaks.append(call)
    made.tend()
    first = made.publish(publication(), 10.0)
    assert first.result is (Result.COMMITTED if call == "poll" else Result.ABORTED)
    assert made.publish(publication(), 10.0).result is Result.COMMITTED
    assert BrokenProducer.breaks == []
    made.close(1.0)


def test_a_message_that_is_too_large_is_named_before_anything_is_sent(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    answer = publisher(broker, offsets).publish(publication(bytes(2_000_000)), 10.0)
    assert (answer.result, answer.rejected) == (Result.ABORTED, (Claim(0, 1, 0),))
    assert offsets.committed == {}


def test_a_commit_that_failed_is_sent_again_without_waiting_for_the_next_outcome(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    offsets.failing = True
    made = publisher(broker, offsets)
    assert made.publish(publication(), 10.0).result is Result.COMMITTED
    made.tend()
    offsets.failing = False
    made.tend()
    assert offsets.committed == {0: 1}


def test_a_commit_that_failed_is_sent_again_at_the_end(broker: EmbeddedBroker) -> None:
    offsets = Offsets()
    offsets.failing = True
    made = publisher(broker, offsets)
    made.publish(publication(), 10.0)
    offsets.failing = False
    made.close(1.0)
    assert offsets.committed == {0: 1}


def test_while_the_coordinator_takes_no_offsets_outcomes_wait_since_a_crash_would_double_them(
    broker: EmbeddedBroker,
) -> None:
    offsets, clock = Offsets(), Clock()
    made = publisher(broker, offsets, clock=clock)
    offsets.silent = True
    assert made.publish(publication(), 10.0).result is Result.COMMITTED
    clock.now = OWED_S - 1
    assert made.publish(publication(offset=1), 10.0).result is Result.COMMITTED
    clock.now = OWED_S + 1
    assert made.publish(publication(offset=2), 10.0).result is Result.ABORTED
    offsets.silent = False
    clock.now = OWED_S - 1 + AGAIN_AFTER_S
    made.tend()
    assert offsets.committed == {0: 2}
    assert made.publish(publication(offset=2), 10.0).result is Result.COMMITTED


def test_a_steady_flow_whose_commits_are_answered_one_later_is_not_held_up(broker: EmbeddedBroker) -> None:
    offsets, clock = Offsets(), Clock()
    made = publisher(broker, offsets, clock=clock)
    held: list[CommitAnswer] = []
    for offset in range(20):
        clock.now = float(offset)
        assert made.publish(publication(offset=offset), 10.0).result is Result.COMMITTED
        new = list(offsets.commit_answers)
        offsets.commit_answers = deque(held)
        held = new


def test_what_is_owed_of_an_earlier_assignment_is_dropped_since_somebody_may_have_gone_on(
    broker: EmbeddedBroker,
) -> None:
    offsets = Offsets()
    offsets.failing = True
    made = publisher(broker, offsets)
    made.publish(publication(), 10.0)
    offsets.failing = False
    offsets.term = 2
    made.tend()
    made.close(1.0)
    assert offsets.committed == {}
