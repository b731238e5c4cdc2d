"""The events of a run, published steadily: pictures, URLs that lead nowhere, records that are no events, tombstones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message, Producer

from tests.faults.arena import Arena
from tests.faults.tally import Event

KEYS = 41
AHEAD = 1_500
"""Most events that wait for their outcome: the publisher holds still meanwhile, as one that is told of the lag."""


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Attributes:
        events: how many are published.
        rate: events a second, at most.
        stall_s: no outcome for so long, with nothing hurt any more, ends the run: the rest is lost.
        between: least and most outcomes between two faults.
        life: so many times `Scenario.passages` an instance lives until it meets its fate.
    """

    events: int
    rate: float
    stall_s: float
    between: tuple[int, int] = (15, 40)
    life: int = 1


SMALL = Size(300, 120.0, 30.0)


def large(events: int = 20_000, rate: float = 400.0) -> Size:
    """So many events, with some 14 faults: back to back, there would be little work between them to be hurt."""
    return Size(events, rate, 60.0, (max(15, events // 20), max(40, events // 11)), max(1, events // 2_000))


class Feed:
    """Publishes on a thread of its own, from `start` until everything is published, or `stop`.

    Args:
        arena: where to.
        topic: the input topic.
        size: how much and how fast.
        seen: tells how many outcomes there are.
        more: tells whether to go on, at half the rate, after the last of them: a fault that lasts long needs
            events to show what it does.

    Attributes:
        events: what the broker has acknowledged, in that order.
        at: event's number → its partition and offset.
        over: nothing more will come.
    """

    def __init__(self, arena: Arena, topic: str, size: Size, seen: Callable[[], int], more: Callable[[], bool]) -> None:
        self._arena = arena
        self._topic = topic
        self._size = size
        self._seen = seen
        self._more = more
        self.events: list[Event] = []
        self.at: dict[int, tuple[int, int]] = {}
        self.over = False
        self._thread = threading.Thread(target=self._publish, name="feed", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Publishes no more, and waits for the broker's word on what is on its way."""
        self.over = True
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def answers(self) -> dict[str, dict[str, str]]:
        """URL → the labels that the model must give for it."""
        return self._arena.answers

    @property
    def running(self) -> bool:
        """Whether it publishes still."""
        return self._thread.is_alive()

    def _publish(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._arena.servers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,  # through broker crashes too, each event once and in order
                "message.timeout.ms": 300_000,
                "linger.ms": 2,
                "log_level": 0,  # brokers that are away are what this is about
            }
        )
        due = time.monotonic()
        number = 0
        while number < self._size.events or self._more():
            while not self.over and (time.monotonic() < due or number - self._seen() > AHEAD):
                producer.poll(0.002)
            if self.over:
                break
            self._produce(producer, number)
            due += 1 / (self._size.rate if number < self._size.events else self._size.rate / 2)
            number += 1
        producer.flush(60)
        self.over = True

    def _produce(self, producer: Producer, number: int) -> None:
        key, value = b"key-%d" % (number % KEYS), self._value(number)
        readable = value is not None and value[:1] == b"{"

        def delivered(error: KafkaError | None, message: Message) -> None:
            # A batch that was there already when it came again has no offset: `watch.copies` finds it.
            if error is None and message.offset() is not None:
                place = (message.partition(), message.offset())
                self.at[number] = place
                self.events.append(Event(number, key, *place, readable, time.monotonic()))

        producer.produce(self._topic, key=key, value=value, on_delivery=delivered)

    def _value(self, number: int) -> bytes | None:
        if number % 31 == 7:
            return b"no event"
        if number % 101 == 50:
            return None
        pictures = self._arena.pictures
        url = self._arena.missing(number) if number % 23 == 5 else pictures[number % len(pictures)].url
        return json.dumps({"event_id": str(number), "url": url}).encode()
