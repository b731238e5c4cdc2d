"""What becomes of a producer that is let go."""

from __future__ import annotations

import gc
import math
import time
import weakref
from types import SimpleNamespace
from typing import Any

from confluent_kafka import Producer

from consumer.records import Message, Outcome
from consumer.stream.outbox import Outbox
from consumer.stream.protocol import Claim, Publish

ONE = Publish((Claim(0, 1, 0),), (Outcome("predicted", (Message("out", b"k", b"v", (), 0),)),), {0: 1})


class Alone(Producer):
    """A producer without brokers, which knows its topic all the same. (A subclass can be watched as it goes.)"""

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})


def let_go_with_a_message_on_its_way() -> weakref.ref[Producer]:
    producer = Alone({"bootstrap.servers": "127.0.0.1:9", "log_level": 0, "error_cb": lambda _: None})
    Outbox(producer, time.monotonic, set()).put(ONE, math.inf)
    if not len(producer):  # no `assert`: pytest's own would keep the producer
        raise AssertionError("nothing is on its way")
    producer.purge()
    return weakref.ref(producer)


def test_a_producer_that_is_let_go_is_destroyed_although_nobody_hears_what_became_of_its_messages() -> None:
    producer = let_go_with_a_message_on_its_way()
    gc.collect()
    assert producer() is None
