"""What can be seen from outside: outcomes and dead letters as readers get them, and the group's offsets."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.codec import decode_prediction
from tests.faults.tally import Event, Sample, Seen

SAMPLE_EVERY_S = 0.1
"""How often the committed offsets are looked at: some 1 % of a core."""

COPIES = 10_000_000
"""The numbers of `copies` begin here."""

Reading = Callable[[Message, float], Seen]
"""A record and when it arrived → what it says."""


def _client(servers: str, group: str, isolation: str = "read_committed") -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 0,  # brokers that are away are what this is about
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.interval.ms": 5_000,
            "check.crcs": False,
        }
    )


def outcome_number(message: Message, arrived: float) -> Seen:
    """An outcome by its header alone: quick."""
    return Seen(int(_header(message, "ce_id")), _place(message), message.timestamp()[1], arrived)


def copies(inputs: Iterable[Message], published: Iterable[Event]) -> list[Event]:
    """Records of the input topic that its publisher was never told of: each is an event like any other.

    A producer whose request was answered too late, in the middle of a leader's move, may leave one, idempotent or not.
    """
    known = {(event.partition, event.offset) for event in published}
    return [
        Event(COPIES + number, one.key(), *place, (one.value() or b"")[:1] == b"{", time.monotonic())
        for number, one in enumerate(inputs)
        if (place := (one.partition(), one.offset())) not in known
    ]


def outcome_reading(
    answers: dict[str, dict[str, str]], place_of: dict[int, tuple[int, int]], copied: dict[tuple[int, int], int]
) -> Reading:
    """Reads an outcome whole and holds it against its event.

    Args:
        answers: URL → the labels that the model must give for it.
        place_of: event's number → its partition and offset.
        copied: the same of `copies`, the other way round.
    """

    def read(message: Message, arrived: float) -> Seen:
        fields = decode_prediction(message.value())
        number = int(fields["event_id"])
        source = (fields["source"]["partition"], fields["source"]["offset"])
        right = fields["error"] is not None or fields["labels"] == answers.get(fields["url"])
        right = right and _header(message, "ce_id") == b"%d" % number
        right = right and (source == place_of.get(number) or source in copied)
        failed = fields["error"] is not None
        number = copied.get(source, number)
        return Seen(number, _place(message), message.timestamp()[1], arrived, failed=failed, wrong=not right)

    return read


def letter_reading(number_at: dict[tuple[int, int], int]) -> Reading:
    """Reads a dead letter; ``number_at`` gives the event at a partition and offset."""

    def read(message: Message, arrived: float) -> Seen:
        return Seen(number_at.get(source_of(message), -1), _place(message), message.timestamp()[1], arrived)

    return read


def source_of(letter: Message) -> tuple[int, int]:
    """The partition and offset that a dead letter is about."""
    return (int(_header(letter, "__connect.errors.partition")), int(_header(letter, "__connect.errors.offset")))


class Reader:
    """A subscriber that reads a topic from its beginning, on a thread of its own, until `close`.

    What it was given is in ``messages`` in the order of arrival, each with the monotonic time.
    """

    def __init__(self, servers: str, topic: str, partitions: int, on_message: Callable[[Message, float], None]) -> None:
        self._consumer = _client(servers, f"reader-{uuid.uuid4()}")
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        self._on_message = on_message
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"reader {topic}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; raises what it stumbled over."""
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                for message in self._consumer.consume(200, 0.1):
                    if message.error() is None:
                        self._on_message(message, time.monotonic())
        except BaseException as error:  # noqa: BLE001 - raised again by `close`
            self._error = error
        finally:
            self._consumer.close()


class Sampler:
    """Looks at a group's committed offsets, on a thread of its own, until `close`."""

    def __init__(self, servers: str, group: str, topic: str, partitions: int) -> None:
        self._consumer = _client(servers, group)
        self._asked = [TopicPartition(topic, p) for p in range(partitions)]
        self._over = threading.Event()
        self.samples: list[Sample] = []
        self._answered_at = time.monotonic()
        self._longest_s = 0.0
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def longest_away_s(self) -> float:
        """For how many seconds the group's coordinator has not answered at a time, at most."""
        return max(self._longest_s, time.monotonic() - self._answered_at)

    def close(self) -> list[Sample]:
        """Ends the thread; gives what it saw."""
        self._over.set()
        self._thread.join()
        self._consumer.close()
        return self.samples

    def _run(self) -> None:
        last: dict[int, int] = {}
        while not self._over.wait(SAMPLE_EVERY_S):
            try:
                found = self._consumer.committed(self._asked, timeout=2.0)
            except KafkaException:
                continue  # the coordinator is away or moves: there is nothing to see now
            self._longest_s, self._answered_at = self.longest_away_s(), time.monotonic()
            at_ms = time.time() * 1000
            offsets = {one.partition: one.offset for one in found if one.error is None and one.offset >= 0}
            if offsets != last:
                self.samples.append(Sample(at_ms, offsets))
                last = offsets


def read_all(servers: str, topic: str, partitions: int, isolation: str, within_s: float) -> list[Message]:
    """Everything that stands in a topic, once no transaction is open in it.

    Raises:
        TimeoutError: a transaction stays open, or the brokers do not answer.
    """
    consumer = _client(servers, f"reader-{uuid.uuid4()}", isolation)
    raw = _client(servers, f"reader-{uuid.uuid4()}", "read_uncommitted")
    deadline = time.monotonic() + within_s
    places = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)]
    try:
        for place in places:
            while not _settled(consumer, raw, place):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"a transaction is open in {topic}-{place.partition} after {within_s:g} s")
                time.sleep(0.1)
        consumer.assign(places)
        return list(_until_the_end(consumer, partitions, deadline))
    finally:
        consumer.close()
        raw.close()


def _settled(consumer: Consumer, raw: Consumer, place: TopicPartition) -> bool:
    """Whether committed records reach to the log's end."""
    try:
        ends = [one.get_watermark_offsets(place, timeout=5.0) for one in (consumer, raw)]
    except KafkaException:
        return False
    return ends[0] is not None and ends[0] == ends[1]


def _until_the_end(consumer: Consumer, partitions: int, deadline: float) -> Iterator[Message]:
    ended: set[int] = set()
    while len(ended) < partitions:
        for message in consumer.consume(500, 0.5):
            if message.error() is None:
                ended.discard(message.partition())
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
        if time.monotonic() > deadline:
            raise TimeoutError("the topic could not be read to its end")


def _header(message: Message, name: str) -> Any:
    return next(value for one, value in reversed(message.headers() or []) if one == name)


def _place(message: Message) -> tuple[str, int, int]:
    return (message.topic(), message.partition(), message.offset())
