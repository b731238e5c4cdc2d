"""Who a member is to the group: its outcomes are fenced by the identity that its partitions were assigned to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from consumer.errors import FatalError
from consumer.stream.clients import AnsweringConsumer
from consumer.stream.identity import TopicIdentity
from consumer.stream.source import POLL_BYTES, Source
from tests.simulation.message import Message as SimulatedMessage

Callback = Callable[[Any, list[TopicPartition]], None]


class Group:
    """A consumer whose group does what a test tells it to."""

    def __init__(self) -> None:
        self.member = "first"
        self.subscriptions = 0
        self.callbacks: dict[str, Callback] = {}
        self.news: list[tuple[str, list[int]]] = []
        self.messages: list[Message] = []

    def subscribe(self, topics: list[str], **callbacks: Callback) -> None:
        self.subscriptions += 1
        self.callbacks = callbacks

    def unsubscribe(self) -> None:
        self.subscriptions -= 1
        self.news.append(("on_revoke", [0, 1]))

    def poll(self, timeout_s: float) -> Message | None:
        for name, partitions in self.news:
            self.callbacks[name](self, [TopicPartition("t", one) for one in partitions])
        self.news.clear()
        return self.messages.pop(0) if self.messages else None

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return partitions

    def memberid(self) -> str:
        return self.member

    def consumer_group_metadata(self) -> str:
        return f"metadata of {self.member}"


class Told:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []

    def assigned(self, partitions: list[int]) -> None:
        self.calls.append(("assigned", partitions))

    def revoked(self, partitions: list[int]) -> None:
        self.calls.append(("revoked", partitions))

    def lost(self, partitions: list[int]) -> None:
        self.calls.append(("lost", partitions))


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def source(group: Group, told: Told) -> Source:
    made = Source(cast(AnsweringConsumer, group), "t")
    made.subscribe(told)
    group.news.append(("on_assign", [0, 1]))
    made.poll(1, 0.0)
    return made


def test_the_member_that_the_partitions_were_assigned_to_may_publish(source: Source) -> None:
    assert source.group_metadata() == "metadata of first"


def test_a_member_without_an_id_publishes_nothing(source: Source, group: Group) -> None:
    group.member = ""
    assert source.group_metadata() is None


def test_a_new_identity_does_not_publish_what_the_old_one_was_given_and_joins_anew(
    source: Source, group: Group, told: Told
) -> None:
    group.member = "second"  # and not a word: its partitions are neither lost nor revoked
    assert source.group_metadata() is None
    source.poll(1, 0.0)
    assert group.subscriptions == 0
    assert told.calls[-1] == ("revoked", [0, 1])
    assert source.group_metadata() == "metadata of second"  # it holds nothing that it could publish
    source.poll(1, 0.0)
    assert group.subscriptions == 1
    group.news.append(("on_assign", [0]))
    source.poll(1, 0.0)
    assert told.calls[-1] == ("assigned", [0])
    assert source.group_metadata() == "metadata of second"
    source.poll(1, 0.0)
    assert group.subscriptions == 1


def test_an_offset_of_a_former_topic_of_the_name_is_none_of_this_one(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = cast(TopicIdentity, SimpleNamespace(is_foreign=lambda mark: mark == "of the former"))
    source = Source(cast(AnsweringConsumer, group), "t", identity=identity)
    found = [TopicPartition("t", 0, 3, "of the former"), TopicPartition("t", 1, 3), TopicPartition("t", 2, -1001)]
    monkeypatch.setattr(group, "committed", lambda *_, **__: found)
    assert source.committed([0, 1, 2], 1.0) == {0: -1, 1: 3, 2: -1}


def test_a_member_whose_name_another_has_ends_and_says_whose_fault_it_may_be(source: Source, group: Group) -> None:
    fenced = "Broker: Static consumer fenced by other consumer with same group.instance.id"
    error = KafkaError(KafkaError._FATAL, f"Fatal error: {fenced}: Fatal consumer error: {fenced}", fatal=True)
    group.messages.append(cast(Message, SimulatedMessage("", -1, -1, None, error)))
    with pytest.raises(FatalError, match=r"another member has this one's INSTANCE_ID: .* \(Broker: [^:]*\)$"):
        source.poll(1, 0.0)


@pytest.mark.parametrize("how", ["on_revoke", "on_lost"])
def test_after_everything_was_given_up_a_new_identity_is_the_usual_thing(
    source: Source, group: Group, how: str
) -> None:
    group.news += [(how, [0, 1])]
    source.poll(1, 0.0)
    group.member = "second"
    group.news += [("on_assign", [1])]
    source.poll(1, 0.0)
    assert source.group_metadata() == "metadata of second"
    source.poll(1, 0.0)
    assert group.subscriptions == 1


@pytest.mark.parametrize(("member", "given"), [(b"first", True), (b"second", False), (b"", False)])
def test_metadata_are_given_out_for_the_member_that_they_name_itself_and_nobody_else_is_asked(
    source: Source, group: Group, monkeypatch: pytest.MonkeyPatch, member: bytes, given: bool
) -> None:
    written = b"CGMDv2:" + (7).to_bytes(4, sys.byteorder) + b"group\0" + member + b"\0\1"
    monkeypatch.setattr(group, "consumer_group_metadata", lambda: written)
    monkeypatch.delattr(Group, "memberid")
    assert source.group_metadata() == (written if given else None)


@pytest.mark.parametrize(("generation", "joined"), [(-1, False), (0, False), (1, True), (70_000, True)])
def test_a_member_has_joined_once_the_group_gave_it_a_generation(
    source: Source, group: Group, monkeypatch: pytest.MonkeyPatch, generation: int, joined: bool
) -> None:
    written = b"CGMDv2:" + generation.to_bytes(4, sys.byteorder, signed=True) + b"group\0first\0\1"
    monkeypatch.setattr(group, "consumer_group_metadata", lambda: written)
    assert source.joined() is joined


def test_where_the_metadata_are_written_otherwise_what_is_held_tells(
    source: Source, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "consumer_group_metadata", lambda: b"CGMDv3:\1\0\0\0")
    assert source.joined()
    group.news.append(("on_lost", [0, 1]))
    source.poll(1, 0.0)
    assert not source.joined()


def test_a_poll_ends_with_so_many_records_or_so_many_bytes(source: Source, group: Group) -> None:
    value = bytes(POLL_BYTES // 4)
    group.messages = [Message("t", 0, offset, b"", value, [], None, (1, 1_000)) for offset in range(10)]
    assert [[one.offset for one in source.poll(most, 0.0)] for most in (100, 3, 100)] == [
        [0, 1, 2, 3],
        [4, 5, 6],
        [7, 8, 9],
    ]
