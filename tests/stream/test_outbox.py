"""What is handed to the broker, what it says of that, and what becomes of a producer that is let go."""

from __future__ import annotations

import gc
import math
import time
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from consumer.errors import BrokerError
from consumer.records import Message, Outcome
from consumer.stream.outbox import Late, Outbox
from consumer.stream.protocol import Claim, Publish, Published
from consumer.stream.room import Room

ONE = Publish((Claim(0, 1, 0),), (Outcome("predicted", (Message("out", b"k", b"v", (), 0),)),), {0: 1})


class Alone(Producer):
    """A producer without brokers, which knows its topic all the same. (A subclass can be watched as it goes.)"""

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})


def let_go_with_a_message_on_its_way() -> weakref.ref[Producer]:
    producer = Alone({"bootstrap.servers": "127.0.0.1:9", "log_level": 0, "error_cb": lambda _: None})
    Outbox(producer, time.monotonic, Room(time.monotonic)).put(ONE, math.inf)
    if not len(producer):  # no `assert`: pytest's own would keep the producer
        raise AssertionError("nothing is on its way")
    producer.purge()
    return weakref.ref(producer)


def test_a_producer_that_is_let_go_is_destroyed_although_nobody_hears_what_became_of_its_messages() -> None:
    producer = let_go_with_a_message_on_its_way()
    gc.collect()
    assert producer() is None


def test_what_is_not_acknowledged_in_time_is_told_by_topic_and_partition() -> None:
    producer = Alone({"bootstrap.servers": "127.0.0.1:9", "log_level": 0, "error_cb": lambda _: None})
    outbox = Outbox(producer, time.monotonic, Room(time.monotonic))
    letter = Message("dead", b"k", b"v", (), 0)
    outcome = Outcome("failed", (Message("out", b"k", b"v", (), 0), letter))
    outbox.put(Publish((Claim(0, 1, 0), Claim(0, 1, 1)), (outcome, outcome), {0: 2}), math.inf)
    with pytest.raises(Late, match=r"in time: 4 messages to partitions \[0\] of dead, partitions \[0\] of out"):
        outbox.await_acknowledged(time.monotonic())
    producer.purge()


class Picky(Alone):
    """Its broker takes no batch of more than some bytes; everything since the last flush is one batch."""

    def __init__(self, limit: int, invalid: bytes | None = None) -> None:
        super().__init__({"bootstrap.servers": "127.0.0.1:9", "log_level": 0, "error_cb": lambda _: None})
        self._limit = limit
        self._invalid = invalid
        self._batch: list[tuple[bytes, Any]] = []
        self.taken: list[bytes] = []
        self.flushes = 0
        self.stuck = 0  # messages that are never sent, as after a refusal in a transaction

    def produce(self, _: str, *, value: bytes, on_delivery: Any, **__: Any) -> None:
        self._batch.append((value, on_delivery))

    def flush(self, _: float = 0.0) -> int:
        self.flushes += 1
        batch, self._batch = self._batch, []
        values = [value for value, _ in batch]
        for value, told in batch:
            code: int | None = None
            if sum(map(len, values)) > self._limit:
                code = KafkaError.MSG_SIZE_TOO_LARGE
            elif self._invalid in values:
                code = KafkaError.INVALID_RECORD if value == self._invalid else KafkaError._INVALID_DIFFERENT_RECORD
            else:
                self.taken.append(value)
            told(code and KafkaError(code), None)
        return 0

    def __len__(self) -> int:
        return self.stuck


def publication(*values: bytes, key: bytes | None = b"k") -> Publish:
    outcomes = [Outcome("predicted", (Message("out", key, value, (), 0),)) for value in values]
    return Publish(tuple(Claim(0, 1, n) for n in range(len(values))), tuple(outcomes), {0: len(values)})


def attempt(outbox: Outbox, values: Publish) -> Published | None:
    outbox.put(values, math.inf)
    if not outbox.failed:
        outbox.flush(math.inf)
    return outbox.answer()


def test_of_a_batch_that_is_too_large_the_culprit_is_found_in_halves_and_nothing_else_is_rejected() -> None:
    producer = Picky(5_000)
    outbox = Outbox(producer, time.monotonic, Room(time.monotonic))
    values = publication(*[bytes(1_000)] * 25, bytes(8_000), *[bytes(1_000)] * 25)
    answers = [attempt(outbox, values)]
    while (last := answers[-1]) is not None and not last.rejected:
        assert last.narrowed
        answers.append(attempt(outbox, values))
    assert last is not None
    assert last.rejected == (Claim(0, 1, 25),)
    assert len(answers) == 5  # 58 000 bytes, 25 000, 12 000, 6 000, and alone
    assert attempt(outbox, publication(*[bytes(1_000)] * 50)) is None


def test_where_a_topic_allows_less_than_a_batch_what_fits_is_found_and_kept() -> None:
    producer = Picky(5_000)
    room = Room(time.monotonic)
    many = publication(*[bytes(100)] * 1_000)
    answers = 1
    while attempt(Outbox(producer, time.monotonic, room), many) is not None:  # another producer each time
        answers += 1
    assert answers == 6
    assert len(producer.taken) >= 1_000
    flushes = producer.flushes
    assert attempt(Outbox(producer, time.monotonic, room), many) is None
    assert producer.flushes - flushes == 33  # of 3 100 bytes each, not one for each of a thousand


def test_a_refusal_is_noticed_although_others_are_never_sent_after_it() -> None:
    producer = Picky(5_000)
    room = Room(time.monotonic)
    room.refused(20_000)
    outbox = Outbox(producer, time.monotonic, room)
    producer.stuck = 1
    outbox.put(publication(*[bytes(1_000)] * 20), time.monotonic() + 60)  # else it waits that long, and is late
    answer = outbox.answer()
    assert answer is not None
    assert answer.narrowed


def test_what_is_acknowledged_outside_of_a_transaction_is_not_sent_again() -> None:
    producer = Picky(5_000)
    out: set[tuple[Claim, str]] = set()
    outbox = Outbox(producer, time.monotonic, Room(time.monotonic), out)
    values = publication(*[b"%04d" % n + bytes(996) for n in range(20)], bytes(8_000))
    last = attempt(outbox, values)
    while last is not None and not last.rejected:
        last = attempt(outbox, values)
    assert last is not None
    assert last.rejected == (Claim(0, 1, 20),)
    assert len(producer.taken) == len(set(producer.taken)) == len(out)


def test_a_record_that_the_broker_never_takes_ends_the_service_with_its_name_and_does_not_stand_still_for_ever() -> (
    None
):
    outbox = Outbox(Picky(5_000, invalid=b"bad"), time.monotonic, Room(time.monotonic))
    with pytest.raises(BrokerError, match=r"partition 0, offset 1, .*into out.*cleanup\.policy=compact"):
        attempt(outbox, publication(b"good", b"bad", b"good too", key=None))


def test_where_the_broker_takes_none_at_all_the_reason_is_told_and_all_of_them_wait() -> None:
    outbox = Outbox(Picky(5_000, invalid=b"bad"), time.monotonic, Room(time.monotonic))
    answer = attempt(outbox, publication(b"bad", b"bad"))
    assert answer is not None
    assert answer.reason.startswith("out takes none of the outcomes")
    assert not answer.rejected
