"""Offsets outside of a transaction: owed until the broker says that it has them.

librdkafka's waiting commit has no time-out: with its coordinator away it holds the caller for as long as a
minute, and whoever polls the consumer meanwhile with it. So nobody waits: a commit is sent, its answer comes
with a later `poll`, and what failed is sent again. A revocation is safe all the same: the coordinator gets the
commit before it hears that the partitions are given up, since both go over one connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException

from consumer.logs import Repeats
from consumer.stream.outbox import Clock
from consumer.stream.source import Source

log = logging.getLogger(__name__)

AGAIN_AFTER_S = 10.0
"""When a commit without an answer is sent again."""


@dataclass(slots=True)
class _Owed:
    term: int  # of which assignment: see `Source.terms`
    offset: int
    since: float
    sent_at: float


class Commits:
    """Offsets whose outcomes are out already. Belongs to the stream's thread; times are monotonic seconds."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._owed: dict[int, _Owed] = {}
        self._troubles = Repeats(log)

    def owe(self, offsets: Mapping[int, int]) -> None:
        """Sends these; a later offset of a partition covers an earlier one."""
        now, terms = self._clock(), self._source.terms()
        mine = offsets.keys() & terms.keys()
        for partition in mine:
            since = self._owed[partition].since if partition in self._owed else now
            self._owed[partition] = _Owed(terms[partition], offsets[partition], since, now)
        if mine:
            self._send(mine)

    def settle(self) -> float:
        """Takes in the answers that have come, and sends again what failed.

        What belongs to an earlier assignment is dropped: another member may have gone on since, and its
        offset must not be set back.

        Returns:
            For how many seconds something has been owed; 0 if nothing is.
        """
        now, terms = self._clock(), self._source.terms()
        self._owed = {p: owed for p, owed in self._owed.items() if terms.get(p) == owed.term}
        again = {p for p, owed in self._owed.items() if now - owed.sent_at >= AGAIN_AFTER_S}
        while self._source.commit_answers:
            error, answers = self._source.commit_answers.popleft()
            for one in answers:
                owed = self._owed.get(one.partition)
                failure = error or one.error
                if owed is None:
                    continue
                if failure is not None:
                    self._tell(failure)
                    again.add(one.partition)
                elif owed.offset <= one.offset:
                    del self._owed[one.partition]
                    self._troubles.over()
                else:  # an earlier one is there; the later one has its own answer
                    owed.since = owed.sent_at
        if again := again & self._owed.keys():
            self._send(again)
        return max((now - owed.since for owed in self._owed.values()), default=0.0)

    def _send(self, partitions: Iterable[int]) -> None:
        now = self._clock()
        offsets = {partition: self._owed[partition].offset for partition in partitions}
        for partition in offsets:
            self._owed[partition].sent_at = now
        try:
            self._source.commit(offsets)
        except KafkaException as error:  # it is sent again after a while
            self._tell(error.args[0])

    def _tell(self, error: KafkaError) -> None:
        self._troubles.warning("commit", "offsets are not committed yet, a crash now would double: %s", error.str())
