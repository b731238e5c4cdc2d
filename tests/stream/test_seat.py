"""Who has lost its partitions asks who has its name in the group before it joins again."""

from __future__ import annotations

import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from consumer.errors import FatalError
from consumer.settings import Settings
from consumer.stream.clients import AnsweringConsumer, Instance, consumer_config
from consumer.stream.seat import ASK_S, Seat
from consumer.stream.source import Source
from tests.brokers import Kafka
from tests.stream.stage import Stage
from tests.stream.test_source import Group, Told

ANOTHERS = [("somebody", "x-1"), ("one", "second")]


class Admin:
    """Describes a group of these members, by instance and member id; or fails; or never answers."""

    def __init__(self, members: list[tuple[str, str]] | KafkaException | None) -> None:
        self._members = members

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        answer: Future[Any] = Future()
        if isinstance(self._members, KafkaException):
            answer.set_exception(self._members)
        elif self._members is not None:
            members = [SimpleNamespace(group_instance_id=name, member_id=member) for name, member in self._members]
            answer.set_result(SimpleNamespace(members=members))
        return dict.fromkeys(groups, answer)


def seat(members: list[tuple[str, str]] | KafkaException | None) -> tuple[Seat, list[float]]:
    """That of the instance ``one``, and how long its answers were waited for."""
    waited: list[float] = []
    admin = cast(AdminClient, Admin(members))
    return Seat(lambda: admin, "group", "one", lambda _, most_s: waited.append(most_s)), waited


@pytest.mark.parametrize(
    ("members", "taken"), [(ANOTHERS, True), ([("one", "first")], False), ([("other", "second")], False), ([], False)]
)
def test_it_is_taken_where_another_member_has_the_name(members: list[tuple[str, str]], taken: bool) -> None:
    assert seat(members)[0].is_taken({"first"}) is taken


def test_who_is_not_answered_or_may_not_ask_joins_again_as_if_nobody_had_it() -> None:
    silent, waited = seat(None)
    assert not silent.is_taken({"first"})
    assert waited == [ASK_S]
    assert not seat(KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)))[0].is_taken({"first"})


@pytest.mark.parametrize(
    "environ", [{}, {"INSTANCE_ID": "one", "KAFKA_GROUP_PROTOCOL": "consumer"}], ids=["made up", "consumer protocol"]
)
def test_a_name_that_the_group_does_not_know_has_no_seat(environ: dict[str, str]) -> None:
    settings = Settings.from_env(environ)
    assert Seat.of(settings, Instance.of(settings)) is None


def source(group: Group, told: Told, members: list[tuple[str, str]]) -> Source:
    made = Source(cast(AnsweringConsumer, group), "t", seat=seat(members)[0])
    made.subscribe(told)
    group.news = [("on_assign", [0, 1])]
    made.poll(1, 0.0)
    group.news = [("on_lost", [0, 1])]
    return made


def test_whose_place_is_taken_does_not_come_back_from_the_loss_of_its_partitions() -> None:
    group, told = Group(), Told()
    outlived = source(group, told, ANOTHERS)
    with pytest.raises(FatalError, match="a newer instance has taken this one's INSTANCE_ID"):
        outlived.poll(1, 0.0)
    assert told.calls[-1] == ("lost", [0, 1])


def test_whose_place_is_its_own_goes_on_under_whichever_of_its_names() -> None:
    group, told = Group(), Told()
    again = source(group, told, [("one", "second")])
    group.member = "second"  # the group took it in as a new one, and it has noticed
    again.group_metadata()
    again.poll(1, 0.0)
    assert ("lost", [0, 1]) in told.calls


@pytest.mark.kafka
def test_the_group_tells_which_of_two_processes_has_the_name(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once")
    settings = stage.named("one")
    instance = Instance.of(settings)
    asked = Seat.of(settings, instance)
    assert asked is not None
    first, second = (Consumer(consumer_config(settings, instance)) for _ in range(2))
    names = []
    for one in (first, second):
        one.subscribe([stage.input])
        until = time.monotonic() + 20
        while not one.assignment() and time.monotonic() < until:
            one.poll(0.1)
        names.append(one.memberid())
    assert asked.is_taken({names[0]})
    assert not asked.is_taken(set(names))
    for one in (second, first):
        one.close()
