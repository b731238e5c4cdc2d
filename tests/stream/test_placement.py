"""Where reading begins on Apache Kafka: new partitions, records that are gone, topics that were made again."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from consumer.errors import BrokerError
from consumer.stream import identity
from consumer.stream.clients import AnsweringConsumer
from ops.local_kafka import topics
from tests.brokers import Kafka
from tests.stream.stage import PARTITIONS, Member, ShuffledWork, Stage, assert_each_once_and_in_order


@pytest.fixture
def admin(kafka: Kafka) -> AdminClient:
    return topics.admin(kafka.bootstrap_servers)


def commit(stage: Stage, *offsets: int, metadata: str = "") -> None:
    """Sets the group's offsets as a tool would: one for every partition, or one for each."""
    consumer = Consumer({"bootstrap.servers": stage.bootstrap_servers, "group.id": stage.settings.kafka.group_id})
    each = offsets if len(offsets) > 1 else offsets * PARTITIONS
    places = [TopicPartition(stage.input, partition, offset, metadata) for partition, offset in enumerate(each)]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def make_again(stage: Stage, admin: AdminClient) -> None:
    """Deletes the input topic and makes it anew under its name."""
    admin.delete_topics([stage.input], operation_timeout=20)[stage.input].result()
    topics.create_topic(stage.bootstrap_servers, stage.input, partitions=PARTITIONS)


def fill(stage: Stage, each: int, name: str) -> list[bytes]:
    """Publishes so many events to every partition."""
    producer = Producer({"bootstrap.servers": stage.bootstrap_servers, "linger.ms": 1})
    values = [
        b"%s-%d-%d" % (name.encode(), partition, number) for number in range(each) for partition in range(PARTITIONS)
    ]
    for value in values:
        producer.produce(stage.input, value=value, partition=int(value.split(b"-")[1]))
    assert producer.flush(20) == 0
    return values


def values(stage: Stage, at_least: int) -> list[bytes]:
    return sorted(message.value or b"" for message in stage.outcomes(at_least))


@pytest.mark.parametrize("assignor", ["cooperative-sticky", "range"])
def test_records_that_retention_took_are_told_by_number_and_the_rest_is_read(
    kafka: Kafka, admin: AdminClient, caplog: pytest.LogCaptureFixture, assignor: str
) -> None:
    stage = Stage(kafka, "exactly-once", KAFKA_PARTITION_ASSIGNMENT_STRATEGY=assignor)
    published = fill(stage, 10, "event")
    commit(stage, 2)
    for future in admin.delete_records([TopicPartition(stage.input, 1, 7)]).values():
        future.result()
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    gone = {b"event-1-%d" % number for number in range(2, 7)}
    expected = sorted(value for value in published if int(value.split(b"-")[2]) >= 2 and value not in gone)
    found = values(stage, len(expected))
    member.stop()
    assert found == expected
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert told == [
        f"5 offsets of partition 1 of {stage.input} are gone unread (2 to 6): retention was faster; going on at 7"
    ]


def test_an_eager_assignor_begins_one_partition_anew_and_asks_for_no_other(
    kafka: Kafka, admin: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What librdkafka asks of the group's coordinator may be lost (#5586)."""
    begun: list[list[int]] = []

    def assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        begun.append([one.offset for one in partitions])
        Consumer.assign(consumer, partitions)

    monkeypatch.setattr(AnsweringConsumer, "assign", assign)
    stage = Stage(kafka, "exactly-once", KAFKA_PARTITION_ASSIGNMENT_STRATEGY="range")
    fill(stage, 10, "event")
    commit(stage, 10, 2, 10)  # two are at their end, where librdkafka's `position` knows nothing
    for future in admin.delete_records([TopicPartition(stage.input, 1, 7)]).values():
        future.result()
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    found = values(stage, 3)
    fill(stage, 1, "later")
    later = values(stage, 6)
    member.stop()
    assert found == [b"event-1-7", b"event-1-8", b"event-1-9"]
    assert later == [*found, b"later-0-0", b"later-1-0", b"later-2-0"]
    assert begun
    assert all(offset >= 0 for offsets in begun for offset in offsets)


def test_a_service_that_is_told_to_stop_at_gaps_ends_and_says_which_offsets_are_gone(
    kafka: Kafka, admin: AdminClient
) -> None:
    stage = Stage(kafka, "exactly-once", KAFKA_AUTO_OFFSET_RESET="error")
    fill(stage, 10, "event")
    commit(stage, 2)
    for future in admin.delete_records([TopicPartition(stage.input, 1, 7)]).values():
        future.result()
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    with pytest.raises(BrokerError, match=r"5 offsets of partition 1 .* \(2 to 6\).*KAFKA_AUTO_OFFSET_RESET=error"):
        member.join()


def test_an_offset_beyond_the_end_ends_the_service_since_nobody_can_tell_which_events_are_new(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once")
    fill(stage, 5, "event")
    commit(stage, 50)
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    with pytest.raises(BrokerError, match=r"ends at 5, and 50 was read up to.*--reset-offsets"):
        member.join()


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_topic_that_was_made_again_while_nobody_read_is_read_from_its_first_record(
    kafka: Kafka, admin: AdminClient, caplog: pytest.LogCaptureFixture, delivery: str
) -> None:
    stage = Stage(kafka, delivery)
    fill(stage, 4, "old")
    first = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    values(stage, 12)
    first.stop()
    (mark,) = stage.marks()
    make_again(stage, admin)
    published = fill(stage, 9, "new")
    commit(stage, 4, metadata=mark)  # the brokers forgot it with the topic, but a commit on its way may come after that
    second = Member(stage.settings, ShuffledWork(stage.output, seed=2))
    found = values(stage, 12 + 27)
    second.stop()
    assert [value for value in found if value.startswith(b"new")] == sorted(published)
    assert (
        sum("was made again since offset 4 was committed" in one.getMessage() for one in caplog.records) == PARTITIONS
    )


def test_a_topic_that_is_made_again_under_a_running_service_ends_it_and_the_next_start_skips_nothing(
    kafka: Kafka, admin: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LOOK_EVERY_S", 0.5)
    stage = Stage(kafka, "exactly-once")
    fill(stage, 4, "old")
    first = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    values(stage, 12)
    make_again(stage, admin)
    published = fill(stage, 9, "new")
    with pytest.raises(BrokerError, match="deleted and made again while it was read: start again"):
        first.join()
    second = Member(stage.settings, ShuffledWork(stage.output, seed=2))
    found = values(stage, 12 + 27)
    second.stop()
    assert set(published) <= set(found)


def test_a_topic_that_is_deleted_under_a_running_service_ends_it_once_that_is_sure(
    kafka: Kafka, admin: AdminClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(identity, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(identity, "MISSING_FOR_S", 1.0)
    stage = Stage(kafka, "exactly-once")
    stage.publish(3)
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    stage.outcomes(at_least=3)
    admin.delete_topics([stage.input], operation_timeout=20)[stage.input].result()
    with pytest.raises(BrokerError, match="was deleted: make it again"):
        member.join()
    assert sum("does not exist any more" in one.getMessage() for one in caplog.records) == 1


def test_a_partition_that_is_added_while_the_service_runs_is_read_from_its_beginning(
    kafka: Kafka, admin: AdminClient
) -> None:
    stage = Stage(kafka, "exactly-once", KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS="1000")
    stage.publish(30)
    member = Member(stage.settings, ShuffledWork(stage.output, seed=1))
    stage.outcomes(at_least=30)
    admin.create_partitions([NewPartitions(stage.input, PARTITIONS + 1)])[stage.input].result()
    stage.publish(30, partition=PARTITIONS)  # before any member can know of it
    outcomes = stage.outcomes(at_least=60)
    member.stop()
    assert_each_once_and_in_order(stage, outcomes)
