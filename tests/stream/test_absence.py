"""Who was away for long makes no producer until it is sure that no newer instance has its name."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.stream import clients, placement
from consumer.stream.absence import ASK_S, AWAY_S, OVERDUE_S
from consumer.stream.exactly_once import TransactionalPublisher
from consumer.stream.protocol import Result
from consumer.stream.source import Source
from tests.brokers import Kafka
from tests.stream.scripted import FENCED, GENERATION, GOOD, ONE, TIMED_OUT, Scripted, Still
from tests.stream.stage import Stage
from tests.stream.test_exactly_once import Joined

TURN_S = 0.1

ANOTHER_MEMBER = KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", False, False, True)


class Group(Still):
    """Says how often it was asked, and answers or does not."""

    def __init__(self) -> None:
        self.answers = True
        self.asked_at: list[float] = []
        self.now = 0.0
        self.freezes_s = 0.0

    def positions(self, offsets: Any) -> list[Any]:
        self.now += self.freezes_s
        self.freezes_s = 0.0
        return super().positions(offsets)

    def is_answered(self, timeout_s: float) -> bool:
        self.asked_at.append(self.now)
        self.now += 0.0 if self.answers else timeout_s
        return self.answers


class Slow(Scripted):
    """Takes its time where something goes wrong: a start as long as it may, messages as long as the group's freeze."""

    def __init__(self, calls: list[str], script: dict[str, Any], group: Group) -> None:
        super().__init__(calls, script)
        self._group = group

    def produce(self, *_: Any, on_delivery: Any, **__: Any) -> None:
        self._call("produce")
        refusal = None
        if self._script.get("delivery"):
            refusal = self._script["delivery"].pop()
            self._group.now += self._group.freezes_s
            self._group.freezes_s = 0.0
        on_delivery(refusal, None)

    def init_transactions(self, timeout: float) -> None:
        try:
            super().init_transactions(timeout)
        except KafkaException:
            self._group.now += timeout
            raise


class Instance:
    """A publisher whose time goes by as a test says.

    Args:
        unanswered: how often its first start is not answered.
        turns: whether it has had a turn since.
    """

    def __init__(self, *, stable: bool = True, unanswered: int = 0, turns: bool = True) -> None:
        self.calls: list[str] = []
        self.script: dict[str, Any] = {"init": [TIMED_OUT] * unanswered}
        self.group = Group()
        self.publisher = TransactionalPublisher(
            lambda: cast(Producer, Slow(self.calls, self.script, self.group)),
            cast(Source, self.group),
            stable_name=stable,
            transaction_timeout_s=10.0,
            clock=lambda: self.group.now,
        )
        self.group.now += 3 * AWAY_S  # as long as it likes between being made and being started
        self.publisher.start(30.0)
        if turns:
            self.publisher.tend()
        self.calls.clear()

    def turn(self, seconds: float) -> None:
        """What the loop does, for so long."""
        end = self.group.now + seconds
        while self.group.now < end:
            self.group.now += TURN_S
            self.publisher.tend()

    def loses_its_producer(self, after_s: float = 0.0, refusal: KafkaError = GENERATION) -> None:
        """In a publication that took so long."""
        self.group.freezes_s = after_s
        self.script["offsets"] = [refusal]
        assert self.publisher.publish(ONE, 5.0).result is Result.ABORTED
        self.calls.clear()


@pytest.fixture
def instance() -> Instance:
    return Instance()


def test_one_that_was_there_all_the_time_has_a_new_producer_at_once(instance: Instance) -> None:
    instance.loses_its_producer()
    instance.turn(TURN_S)
    assert instance.calls == ["init"]
    assert instance.group.asked_at == []


def test_one_that_was_frozen_in_a_call_asks_when_a_heartbeat_is_overdue_and_polls_once_more(instance: Instance) -> None:
    instance.loses_its_producer(after_s=AWAY_S + TURN_S)
    back_at = instance.group.now
    instance.turn(OVERDUE_S - 2 * TURN_S)
    assert instance.publisher.publish(ONE, 5.0).result is Result.ABORTED
    assert not instance.publisher.replace(5.0)
    assert (instance.calls, instance.group.asked_at) == ([], [])
    while not instance.group.asked_at:
        instance.turn(TURN_S)
    assert instance.group.asked_at[0] >= back_at + OVERDUE_S
    assert instance.calls == []
    instance.turn(TURN_S)
    assert instance.calls == ["init"]
    assert instance.publisher.publish(ONE, 5.0).result is Result.COMMITTED


def test_what_it_has_it_uses_since_that_fences_nobody(instance: Instance) -> None:
    instance.group.now += 2 * AWAY_S
    assert instance.publisher.publish(ONE, 5.0).result is Result.COMMITTED
    assert instance.calls == GOOD


@pytest.mark.parametrize(("away_s", "aborts"), [(AWAY_S + TURN_S, False), (AWAY_S - TURN_S, True)])
def test_one_whose_messages_timed_out_while_it_was_frozen_aborts_nothing_since_that_may_fence_a_newer_one(
    instance: Instance, away_s: float, aborts: bool
) -> None:
    instance.script["delivery"] = [KafkaError(KafkaError._MSG_TIMED_OUT)]
    instance.group.freezes_s = away_s
    assert instance.publisher.publish(ONE, 5.0).result is Result.ABORTED
    assert ("abort" in instance.calls) is aborts
    instance.turn(OVERDUE_S + 3 * TURN_S)
    assert instance.publisher.publish(ONE, 5.0).result is Result.COMMITTED


def test_any_other_transaction_is_aborted_which_may_be_all_that_tells_of_a_newer_one(instance: Instance) -> None:
    instance.script["abort"] = [FENCED]
    instance.group.freezes_s = AWAY_S + TURN_S
    instance.script["offsets"] = [GENERATION]
    assert instance.publisher.publish(ONE, 5.0).result is Result.FENCED


def test_a_start_that_is_not_answered_is_not_asked_for_again_in_the_same_turn(instance: Instance) -> None:
    instance.loses_its_producer()
    instance.script["init"] = [TIMED_OUT]
    assert not instance.publisher.replace(12.0)
    assert (instance.calls, instance.group.asked_at) == (["init"], [])
    instance.turn(OVERDUE_S + 2 * TURN_S)
    assert instance.calls == ["init", "init"]
    assert len(instance.group.asked_at) == 1


def test_its_first_start_may_take_as_long_as_it_likes() -> None:
    slow = Instance(unanswered=3)
    assert slow.publisher.publish(ONE, 5.0).result is Result.COMMITTED
    assert slow.group.asked_at == []


def test_one_that_was_frozen_before_its_first_turn_was_over_asks_too() -> None:
    early = Instance(turns=False)
    early.loses_its_producer(after_s=AWAY_S + TURN_S)
    assert not early.publisher.replace(5.0)
    assert early.calls == []


def test_one_whose_group_knows_another_of_its_name_asks_before_it_makes_a_producer(instance: Instance) -> None:
    instance.loses_its_producer(refusal=ANOTHER_MEMBER)
    assert not instance.publisher.replace(5.0)
    instance.turn(OVERDUE_S + 2 * TURN_S)
    assert len(instance.group.asked_at) == 1
    assert instance.calls == ["init"]


def test_while_the_coordinator_is_away_it_is_asked_now_and_then_and_its_first_answer_ends_the_doubt(
    instance: Instance,
) -> None:
    instance.loses_its_producer()
    instance.group.answers = False
    instance.group.now += 2 * AWAY_S
    instance.turn(20.0)
    assert instance.calls == []
    assert 5 <= len(instance.group.asked_at) <= 20.0 / (ASK_S + OVERDUE_S) + 1
    instance.group.answers = True
    instance.turn(OVERDUE_S + 2 * TURN_S)
    assert instance.calls == ["init"]


def test_turns_that_wait_for_an_answer_one_after_the_other_leave_room_to_ask(instance: Instance) -> None:
    instance.loses_its_producer()
    for _ in range(2):
        instance.group.now += placement.ASK_S
        instance.turn(placement.AGAIN_S)
    assert instance.calls == ["init"]


def test_a_made_up_name_is_nobody_elses(instance: Instance) -> None:
    nameless = Instance(stable=False)
    nameless.loses_its_producer()
    nameless.group.now += 2 * AWAY_S
    nameless.turn(TURN_S)
    assert nameless.calls == ["init"]


@pytest.mark.kafka
def test_the_coordinator_answers_although_a_transaction_is_open_in_every_partition(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once")
    member = Joined(stage, "one")
    member.join()
    producer = clients.make_producer(clients.producer_config(stage.settings, member.instance))
    producer.init_transactions(10.0)
    producer.begin_transaction()
    everywhere = member.source.positions(dict.fromkeys(member.told.mine, 0))
    producer.send_offsets_to_transaction(everywhere, member.source.group_metadata(), 10.0)
    assert member.source.committed(member.told.mine, 0.5) is None
    assert member.source.is_answered(10.0)
    producer.abort_transaction(10.0)
    member.close()
