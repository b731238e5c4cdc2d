"""Transactions that go wrong, provoked on Apache Kafka; `test_verdicts` has by a script what cannot be provoked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from consumer.records import Message, Outcome, Record
from consumer.stream import clients, exactly_once
from consumer.stream.protocol import Claim, Publish, Result
from consumer.stream.publisher import Publisher, make_publisher
from consumer.stream.source import Source
from consumer.stream.timely import TimelyProducer
from tests.brokers import Kafka
from tests.stream.stage import PARTITIONS, Member, ShuffledWork, Stage

BUDGET_S = 8.0

REFUSED_S = 0.3
"""Within it the broker has refused a batch; nobody who does not poll is told."""


class Told:
    """A listener that only remembers what is its own."""

    def __init__(self) -> None:
        self.mine: set[int] = set()

    def assigned(self, partitions: list[int]) -> None:
        self.mine |= set(partitions)

    def revoked(self, partitions: list[int]) -> None:
        self.mine -= set(partitions)

    lost = revoked


class Joined:
    """A member of the stage's group without a loop, and a publisher of its own."""

    def __init__(self, stage: Stage, name: str, source_type: type[Source] = Source) -> None:
        settings = stage.named(name)
        self.instance = clients.Instance.of(settings)
        self._config = clients.consumer_config(settings, self.instance)
        self._config.pop("group.instance.id")  # two of one name are wanted in one group here
        self.source = source_type(clients.make_consumer(self._config), settings.input_topic)
        self.publisher: Publisher = make_publisher(settings, self.instance, self.source)
        self.told = Told()

    def join(self, *others: Joined) -> None:
        """Becomes a member; with the others polling too, until everybody has something."""
        self.source.subscribe(self.told)
        everybody = (self, *others)
        while not all(one.told.mine for one in everybody) or sum(len(one.told.mine) for one in everybody) != PARTITIONS:
            for one in everybody:
                one.source.poll(1, 0.05)

    def close(self) -> None:
        self.publisher.close(1.0)
        self.source.close()


@pytest.fixture
def stage(kafka: Kafka) -> Stage:
    return Stage(kafka, "exactly-once")


@pytest.fixture
def first(stage: Stage) -> Iterator[Joined]:
    made = Joined(stage, "one")
    yield made
    made.close()


def publication(stage: Stage, *values: bytes, offset: int = 0) -> Publish:
    claims = tuple(Claim(0, 1, offset + n) for n in range(len(values)))
    outcomes = tuple(Outcome("predicted", (Message(stage.output, b"k", value, (), 0),)) for value in values)
    return Publish(claims, outcomes, {0: offset + len(values)})


def seen(stage: Stage, at_least: int) -> list[bytes | None]:
    return [message.value for message in stage.outcomes(at_least)]


def test_of_two_instances_with_one_name_the_older_is_fenced_and_its_outcome_is_not_seen(
    stage: Stage, first: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactly_once, "PROMPT_S", BUDGET_S)  # slow answers cost the producer, and so the name
    first.join()
    first.publisher.start(BUDGET_S)
    assert first.publisher.publish(publication(stage, b"a"), BUDGET_S).result is Result.COMMITTED
    second = Joined(stage, "one")
    second.publisher.start(BUDGET_S)
    answer = first.publisher.publish(publication(stage, b"b", offset=1), BUDGET_S)
    assert answer.result is Result.FENCED
    assert "INSTANCE_ID" in answer.reason
    assert seen(stage, 1) == [b"a"]
    second.close()


def test_a_transaction_that_the_broker_timed_out_is_published_again_by_a_new_producer(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once", KAFKA_TRANSACTION_TIMEOUT_MS="1000")

    class Slow(Source):
        slow = True

        def positions(self, offsets: Any) -> list[TopicPartition]:
            if self.slow:  # between the outcomes and their offsets, until the broker has ended the transaction
                threading.Event().wait(3.0)
            return super().positions(offsets)

    late = Joined(stage, "one", Slow)
    late.join()
    late.publisher.start(BUDGET_S)
    assert late.publisher.publish(publication(stage, b"a"), BUDGET_S).result is Result.ABORTED
    cast(Slow, late.source).slow = False
    assert late.publisher.publish(publication(stage, b"a"), BUDGET_S).result is Result.COMMITTED
    assert seen(stage, 1) == [b"a"]
    late.close()


def test_the_metadata_of_an_earlier_generation_commit_nothing(stage: Stage) -> None:
    class Stale(Source):
        kept: Any = None

        def group_metadata(self) -> Any:
            return self.kept or super().group_metadata()

    old = Joined(stage, "one", Stale)
    old.join()
    old.publisher.start(BUDGET_S)
    source = cast(Stale, old.source)
    source.kept = source.group_metadata()
    new = Joined(stage, "two")
    new.join(old)
    answer = old.publisher.publish(publication(stage, b"a"), BUDGET_S)
    assert answer.result is Result.ABORTED
    assert "generation" in answer.reason
    source.kept = None
    assert old.publisher.publish(publication(stage, b"b"), BUDGET_S).result is Result.COMMITTED
    assert seen(stage, 1) == [b"b"]
    old.close()
    new.close()


def test_whoever_is_no_member_of_the_group_publishes_nothing(stage: Stage, first: Joined) -> None:
    first.publisher.start(BUDGET_S)
    answer = first.publisher.publish(publication(stage, b"a"), BUDGET_S)
    assert (answer.result, answer.reason) == (Result.ABORTED, "not a member of the group")
    assert seen(stage, 0) == []


def test_a_publication_that_is_larger_than_the_producers_queue_is_sent_in_pieces(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once", KAFKA_QUEUE_BUFFERING_MAX_MESSAGES="5")
    member = Joined(stage, "one")
    member.join()
    member.publisher.start(BUDGET_S)
    values = [b"%d" % number for number in range(60)]
    assert member.publisher.publish(publication(stage, *values), BUDGET_S).result is Result.COMMITTED
    assert seen(stage, 60) == values
    member.close()


@pytest.mark.parametrize(
    ("delivery", "refused_s"), [("exactly-once", 0.0), ("exactly-once", REFUSED_S), ("at-least-once", 0.0)]
)
def test_an_outcome_that_only_the_broker_finds_too_large_is_reduced_and_its_batch_is_not(
    kafka: Kafka, delivery: str, refused_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of the producer when the broker refuses the batch; with ``refused_s``, to hand offsets over."""
    hand_over = TimelyProducer.send_offsets_to_transaction

    def later(producer: TimelyProducer, *given: Any) -> None:
        time.sleep(refused_s)
        hand_over(producer, *given)

    monkeypatch.setattr(TimelyProducer, "send_offsets_to_transaction", later)
    stage = Stage(kafka, delivery)
    resource = ConfigResource(ResourceType.TOPIC, stage.output)
    limit = ConfigEntry("max.message.bytes", "20000", incremental_operation=AlterConfigOpType.SET)
    resource.add_incremental_config(limit)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})  # kept: without a variable it is destroyed
    admin.incremental_alter_configs([resource])[resource].result()
    stage.publish(60)

    class LargeWork(ShuffledWork):
        """One outcome is too large in itself; all of them together are too large for one batch."""

        def _echo(self, record: Record, pause: float) -> Outcome:
            number = int(record.value or b"")
            small = super()._echo(record, pause)
            value = b"%d " % number + self._random.randbytes(50_000 if number == 11 else 1_000)
            message = Message(stage.output, record.key, value, (), record.partition)
            return Outcome("predicted", (message,), reduced=lambda: small)

    member = Member(stage.settings, LargeWork(stage.output, seed=4))
    outcomes = stage.outcomes(at_least=60)
    member.stop()
    sizes = {int((one.value or b"").split(b" ")[0]): len(one.value or b"") for one in outcomes}
    assert sorted(sizes) == list(range(60))
    assert [number for number, size in sizes.items() if size < 100] == [11]
    if delivery == "exactly-once":
        assert len(outcomes) == 60
