"""Whether the group's coordinator takes offsets, found out before a producer is tied to it.

A producer whose hand-over is not answered is lost, with its six threads, until librdkafka answers
(`consumer.stream.timely`). While only the coordinator is away, which a member under ``group.protocol=consumer``
outlives with all that it holds, every attempt at a publication would lose one: six in the first minute, and they lasted
until ten minutes after the coordinator was back, when brokers close connections that nobody uses (three brokers, one of
them killed). So after the first, the consumer asks the coordinator, by a call that keeps to its time, and a producer is
used again once that is answered.

Where the consumer is answered and producers are not, as with a broker that takes no new connections, there are
`MOST_WAITING` of them, and then another after five seconds, ten, twenty and so on up to a minute: librdkafka may never
answer those that wait, and whether the trouble is over only a new one finds out. Those of a trouble that is over count
no more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final
from weakref import WeakSet

from confluent_kafka import Producer

from consumer.stream.outbox import Clock
from consumer.stream.source import Source

MOST_WAITING: Final = 2
PATIENCE_S: Final = 5.0
MOST_PATIENCE_S: Final = 60.0

ASK_S: Final = 2.0
"""How long the coordinator's answer is waited for: some milliseconds as a rule, and nothing is polled meanwhile."""


class HandOvers:
    """Remembers those that were not answered. Belongs to the stream's thread; times are monotonic seconds."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._doubtful = False
        self._waiting: WeakSet[Producer] = WeakSet()  # only its thread holds it, as long as that waits
        self._again_at = -math.inf

    def may_begin(self, partitions: Iterable[int], budget_s: float) -> bool:
        """Whether offsets of these partitions should be handed over now; asks for ``budget_s`` at most."""
        if not self._doubtful:
            return True
        if len(self._waiting) >= MOST_WAITING and self._clock() < self._again_at:
            return False
        return self._source.committed(partitions, min(ASK_S, max(0.0, budget_s))) is not None

    def unanswered(self, producer: Producer) -> None:
        """This producer's hand-over was not answered in time, and its caller lets go of it."""
        self._doubtful = True
        self._waiting.add(producer)
        patience_s = PATIENCE_S * 2 ** max(0, len(self._waiting) - MOST_WAITING)
        self._again_at = self._clock() + min(MOST_PATIENCE_S, patience_s)

    def answered(self) -> None:
        """The coordinator takes offsets."""
        if self._doubtful:
            self._doubtful = False
            self._waiting.clear()
