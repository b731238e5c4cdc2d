"""Transactions whose markers the brokers skipped. That it helps, `only-broker-bounce` of the fault suite shows: one of
four runs stood still for ever without it."""

from __future__ import annotations

import gc
import threading
from typing import Any, cast

import pytest
from confluent_kafka import KafkaException, Producer

from consumer.stream.exactly_once import HANGING_EVERY_S, TransactionalPublisher
from consumer.stream.protocol import Result
from consumer.stream.source import Source
from consumer.stream.timely import LEAVING
from tests.brokers import Kafka
from tests.stream.scripted import FATAL, GENERATION, ONE, RETRIABLE, Scripted
from tests.stream.stage import PARTITIONS, Stage
from tests.stream.test_absence import Group
from tests.stream.test_exactly_once import BUDGET_S, Joined, publication, seen

TOUCHED = ["begin", "produce", "produce", "flush", "offsets", "abort", "purge"]


@pytest.fixture(scope="module", autouse=True)
def _whoever_was_given_up_is_gone() -> None:
    """The publisher makes no producer while many are leaving, those of earlier tests too."""
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == LEAVING:
            thread.join(20.0)


class Touching(Scripted):
    def list_topics(self, topic: str, timeout: float) -> Any:
        if self._script.get("list"):
            raise KafkaException(self._script["list"].pop())
        return super().list_topics(topic, timeout)

    def flush(self, _: float) -> int:
        self._call("flush")
        return 0


class Instance:
    def __init__(self, *, answers: bool = True) -> None:
        self.calls: list[str] = []
        self.script: dict[str, Any] = {}
        self.group = Group()
        self.group.answers = answers
        self.publisher = TransactionalPublisher(
            lambda: cast(Producer, Touching(self.calls, self.script)),
            cast(Source, self.group),
            stable_name=True,
            transaction_timeout_s=10.0,
            topics=("out", "dead"),
            clock=lambda: self.group.now,
            pause=self._pass,
        )
        self.publisher.start(5.0)
        self.calls.clear()

    def _pass(self, seconds: float) -> None:
        self.group.now += seconds

    def turn(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.group.now += 1.0
            self.publisher.tend()

    def abort_hanging(self) -> list[str]:
        self.calls.clear()
        self.publisher.abort_hanging()
        return list(self.calls)


def test_a_transaction_of_every_output_partition_and_the_offsets_is_aborted_and_its_producer_not_used_again() -> None:
    instance = Instance()
    assert instance.abort_hanging() == TOUCHED
    assert instance.publisher.publish(ONE, 5.0).result is Result.COMMITTED
    assert instance.calls[len(TOUCHED) :] == ["init", "begin", "produce", "flush", "offsets", "commit"]


def test_it_is_done_again_after_a_while() -> None:
    instance = Instance()
    assert instance.abort_hanging() == TOUCHED
    assert instance.abort_hanging() == []
    instance.turn(HANGING_EVERY_S / 2)
    assert instance.abort_hanging() == []
    instance.turn(HANGING_EVERY_S / 2)
    assert instance.abort_hanging() == TOUCHED


def test_nothing_is_begun_while_the_coordinator_does_not_answer() -> None:
    assert Instance(answers=False).abort_hanging() == []


@pytest.mark.parametrize(
    "script",
    [{"flush": [GENERATION]}, {"offsets": [GENERATION]}, {"offsets": [RETRIABLE] * 100}],
    ids=["refused", "hand-over refused", "late"],
)
def test_what_fails_is_told_and_aborted_all_the_same(script: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    instance = Instance()
    instance.script |= script
    assert instance.abort_hanging()[-2:] == ["abort", "purge"]
    assert "as far as it could be" in caplog.text


def test_a_producer_that_cannot_begin_is_told_of_once_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    instance = Instance()
    instance.script["begin"] = [FATAL]
    assert instance.abort_hanging() == ["begin", "abort", "purge"]
    assert [record.getMessage() for record in caplog.records] == ["the producer broke, another takes its place: broke"]
    assert instance.publisher.publish(ONE, 5.0).result is Result.COMMITTED


def test_a_topic_that_cannot_be_described_keeps_nothing_else_from_being_aborted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    instance = Instance()
    instance.script["list"] = [GENERATION]
    assert instance.abort_hanging() == ["begin", "produce", "flush", "offsets", "abort", "purge"]
    assert "as far as it could be: " in caplog.text


@pytest.mark.kafka
def test_nobody_sees_it_and_the_service_goes_on(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once", DEAD_LETTER_TOPIC=kafka.unique_topic("dead", 1))
    member = Joined(stage, "one")
    member.join()
    member.publisher.start(BUDGET_S)
    assert member.publisher.publish(publication(stage, b"a"), BUDGET_S).result is Result.COMMITTED
    member.publisher.abort_hanging()
    assert member.publisher.publish(publication(stage, b"b", offset=1), BUDGET_S).result is Result.COMMITTED
    assert seen(stage, 2) == [b"a", b"b"]
    assert stage.committed() == 2
    with stage.reader("read_uncommitted") as read:
        found = read()
        while len(found) < 2 + PARTITIONS:
            found += read()
    assert sorted(one.value or b"" for one in found) == [b"", b"", b"", b"a", b"b"]
    member.close()
