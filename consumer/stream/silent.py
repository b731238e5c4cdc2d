"""Partitions of which nothing comes: what ``/readyz`` and the log say of them.

librdkafka begins partitions once the group's coordinator has told what is committed in them. While it answers that a
transaction is open on these offsets, or does not answer, librdkafka goes on asking and says nothing. It asks for all
that were assigned together at once, so that an open transaction on one of them holds up all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from consumer.health import Health
from consumer.logs import Repeats
from consumer.stream.source import Source

log = logging.getLogger(__name__)

SILENT_S: Final = 10.0
"""For how long nothing may come. A partition begins within a second; one that is empty tells its end."""


class Silent:
    """Holds the service's readiness, by the name ``offsets``, as long as a partition is silent.

    Args:
        topic: the input topic, for the log.
        clock: monotonic seconds.
    """

    def __init__(self, source: Source, health: Health, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._health = health
        self._topic = topic
        self._repeats = Repeats(log, clock)
        self._waited_s: dict[int, float] = {}  # in which it was not paused
        self._looked_at = 0.0
        self._told = False

    def look(self, now: float) -> set[int]:
        """Finds the partitions that are silent, holds or releases readiness, and tells of them; to be called about once
        a second, in monotonic seconds."""
        passed, self._looked_at = now - self._looked_at, now
        before, self._waited_s = self._waited_s, {}
        for partition, is_paused in self._source.unbegun().items():
            is_new = partition not in before
            self._waited_s[partition] = 0.0 if is_new else before[partition] + (0.0 if is_paused else passed)
        silent = {partition for partition, waited_s in self._waited_s.items() if waited_s > SILENT_S}
        if silent:
            text = (
                f"partitions {sorted(silent)} of {self._topic} do not begin: neither a record nor their end has come "
                f"for more than {SILENT_S:.0f} s; a transaction may be open on the group's offsets of one of them "
                "(kafka-transactions.sh list), or the group's coordinator or their leaders do not answer"
            )
            self._told = True
            self._health.hold("offsets", text)
            self._repeats.warning("silent", "%s", text)
        elif self._told:
            self._told = False
            self._health.release("offsets")
            self._repeats.over()
        return silent
