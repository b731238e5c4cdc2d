"""At least once: outcomes first, their offsets once every one of them is acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from consumer.stream.outbox import Clock, Late, Outbox
from consumer.stream.protocol import Publish, Published, Result
from consumer.stream.source import Source

log = logging.getLogger(__name__)

RECORD_OVERHEAD = 512
"""Bytes that a record's framing may add to its key, value and headers when librdkafka judges its size."""


class PlainPublisher:
    """At least once: outcomes, then offsets. Nothing is lost; a failure in between doubles."""

    def __init__(
        self, make: Callable[[], Producer], source: Source, *, largest: int, clock: Clock = time.monotonic
    ) -> None:
        self._make = make
        self._largest = largest  # the producer's message.max.bytes
        self._source = source
        self._clock = clock
        self._outbox: Outbox | None = None
        self._owed: dict[int, int] = {}

    def start(self, budget_s: float) -> None:  # noqa: ARG002 - nothing to wait for
        """Makes the producer."""
        self.replace(0.0)

    def publish(self, publication: Publish, budget_s: float) -> Published:
        """Outcomes first, and their offsets once all are acknowledged."""
        deadline = self._clock() + budget_s
        outbox = self._outbox
        assert outbox is not None
        answer = self._send(outbox, publication, deadline)
        if answer is not None:
            if len(outbox.producer):
                # What is left must not come after the same outcomes of the next attempt. The purge goes on in
                # the background and would hit what is produced meanwhile, so the next attempt has a new producer.
                outbox.producer.purge()
                self.replace(0.0)
            return answer
        self._owed |= publication.offsets
        self._commit()
        return Published(Result.COMMITTED)

    def replace(self, budget_s: float) -> bool:  # noqa: ARG002 - nothing to wait for
        """A new producer."""
        self._outbox = Outbox(self._make(), self._clock)
        return True

    def close(self, budget_s: float) -> None:
        """Waits for what is still on its way, and commits what is owed."""
        if self._outbox is not None:
            self._outbox.producer.flush(budget_s)
        if self._owed:
            self._commit()

    def _send(self, outbox: Outbox, publication: Publish, deadline: float) -> Published | None:
        """Null if every message is acknowledged; else what to answer. Some may be out: they will be doubled."""
        # Found before anything is sent, or each reduction would send the neighbours once more.
        large = tuple(
            claim
            for claim, outcome in zip(publication.claims, publication.outcomes, strict=True)
            if any(message.size + RECORD_OVERHEAD > self._largest for message in outcome.messages)
        )
        if large:
            return Published(Result.ABORTED, "outcomes too large", large)
        try:
            outbox.put(publication, deadline)
        except (Late, KafkaException) as error:
            return Published(Result.ABORTED, str(error))
        outbox.producer.flush(max(0.0, deadline - self._clock()))
        if outbox.rejected:
            return Published(Result.ABORTED, "outcomes too large", tuple(outbox.rejected))
        if outbox.refusals:
            return Published(Result.ABORTED, outbox.refusals[0].str())
        if outbox.pending:  # an empty queue is no proof: only acknowledgements count
            return Published(Result.ABORTED, f"{outbox.pending} messages were not acknowledged in time")
        return None

    def _commit(self) -> None:
        """The outcomes are out, so a commit that fails is owed, not undone: the next one covers it."""
        mine = self._source.partitions()  # another member's offsets must not be set back
        self._owed = {partition: offset for partition, offset in self._owed.items() if partition in mine}
        try:
            self._source.commit(self._owed)
        except KafkaException as error:
            log.warning("offsets are not committed yet, a crash now would double: %s", error.args[0].str())
        else:
            self._owed.clear()
