"""At least once: outcomes first, their offsets once every one of them is acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import KafkaException, Producer

from consumer.stream.commits import Commits
from consumer.stream.outbox import Clock, Late, Outbox
from consumer.stream.protocol import Claim, Publish, Published, Result
from consumer.stream.room import Room
from consumer.stream.source import Source

log = logging.getLogger(__name__)

OWED_S = 5.0
"""Nothing more is published once offsets have been owed for so long: while the coordinator is away each
outcome would be one that a crash doubles."""

RECORD_OVERHEAD = 512
"""Bytes that a record's framing may add to its key, value and headers when librdkafka judges its size."""


class PlainPublisher:
    """At least once: outcomes, then offsets. Nothing is lost; a failure in between doubles."""

    def __init__(
        self, make: Callable[[], Producer], source: Source, *, largest: int, clock: Clock = time.monotonic
    ) -> None:
        self._make = make
        self._largest = largest  # the producer's message.max.bytes
        self._commits = Commits(source, clock)
        self._clock = clock
        self._room = Room(clock)
        self._out: set[tuple[Claim, str]] = set()  # acknowledged, and their offsets not handed in: not sent again
        self._outbox: Outbox | None = None

    def start(self, budget_s: float) -> None:  # noqa: ARG002 - nothing to wait for
        """Makes the producer."""
        self.replace(0.0)

    def publish(self, publication: Publish, budget_s: float) -> Published:
        """Outcomes first, and their offsets once all are acknowledged.

        Raises:
            BrokerError: this user may not write there.
        """
        deadline = self._clock() + budget_s
        outbox = self._outbox
        assert outbox is not None
        if self._commits.settle() > OWED_S:
            return Published(Result.ABORTED, "the group's coordinator takes no offsets")
        try:
            answer = self._send(outbox, publication, deadline)
        except KafkaException as error:
            answer, broken = Published(Result.ABORTED, error.args[0].str()), error.args[0].fatal()
        else:
            broken = False
        if answer is not None:
            if broken or len(outbox.producer):
                # What is left must not come after the same outcomes of the next attempt. The purge goes on in
                # the background and would hit what is produced meanwhile, so the next attempt has a new producer.
                outbox.producer.purge()
                self.replace(0.0)
            return answer
        self._commits.owe(publication.offsets)
        self._forget(publication)
        return Published(Result.COMMITTED)

    def tend(self) -> None:
        """Sees to what is owed, and hands the producer's complaints over."""
        self._commits.settle()
        assert self._outbox is not None
        try:
            self._outbox.producer.poll(0)
        except KafkaException as error:  # it broke: confluent-kafka raises what is fatal wherever it is heard
            log.warning("the producer broke, another takes its place: %s", error.args[0].str())
            self.replace(0.0)

    def abort_hanging(self) -> None:
        """There are no transactions."""

    def replace(self, budget_s: float) -> bool:  # noqa: ARG002 - nothing to wait for
        """A new producer."""
        self._outbox = Outbox(self._make(), self._clock, self._room, self._out)
        return True

    def close(self, budget_s: float) -> None:
        """Waits for what is still on its way. Commits that were sent are waited for where the consumer is closed."""
        if self._outbox is not None:
            with suppress(KafkaException):  # a broken producer has nothing on its way
                self._outbox.producer.flush(budget_s)
        self._commits.settle()

    def _forget(self, publication: Publish) -> None:
        """These are done with, and so is all that was out of an earlier tenure of their partitions."""
        tenures = {claim.partition: claim.tenure for claim in publication.claims}
        done = set(publication.claims)
        gone = {
            one for one in self._out if one[0] in done or one[0].tenure != tenures.get(one[0].partition, one[0].tenure)
        }
        self._out -= gone  # in place: the outbox adds to it

    def _send(self, outbox: Outbox, publication: Publish, deadline: float) -> Published | None:
        """Null if every message is acknowledged; else what to answer. What is out is not sent again.

        Raises:
            KafkaException: the producer refused a message, or is broken.
        """
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
        except Late as late:
            return Published(Result.ABORTED, str(late))
        outbox.flush(deadline)
        return outbox.answer()
