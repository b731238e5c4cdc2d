"""Which topic the input topic is: its id, and whether it is still the same one.

A topic that is deleted and made again under its name starts at offset 0, and librdkafka does not notice:
it goes on at the old position and skips, in silence, what the new topic holds before it. So the topic's id
(KIP-516) is read at start, looked at every few seconds, and written beside every committed offset, where
the next reader finds to which topic that offset belongs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.errors import BrokerError

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
"""How often the topic is looked at: one metadata request of some 100 bytes."""

MISSING_FOR_S: Final = 30.0
"""How long a topic may be missing before that is believed: brokers that start or fail over answer for a
moment from metadata that lack it."""

ASK_S: Final = 5.0
"""How long one look may take."""

IN_VAIN: Final = 2
"""How many looks in a row may find no broker that answers: one may meet a leader or a controller that moves."""

_MARK: Final = "topic-id="


class TopicIdentity:
    """The input topic's id at start, and the watch over it. Belongs to the stream's thread.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, admin: AdminClient, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._topic = topic
        self._clock = clock
        self._asked: Future[Any] | None = None
        self._look_at = clock() + LOOK_EVERY_S
        self._missing_since: float | None = None
        self._unanswered = 0  # in a row
        self._id: str | None = self._told(self._ask().result())

    @property
    def mark(self) -> str:
        """What to write beside a committed offset; empty if the broker tells no ids."""
        return f"{_MARK}{self._id}" if self._id else ""

    @property
    def in_vain(self) -> bool:
        """Whether the brokers have answered none of the last `IN_VAIN` looks."""
        return self._unanswered >= IN_VAIN

    def is_foreign(self, mark: str | None) -> bool:
        """Whether an offset with this mark was committed in another topic of the name. Without a mark nobody knows."""
        return bool(self._id and mark and mark.startswith(_MARK) and mark != self.mark)

    def look(self) -> None:
        """Asks once in a while, without waiting for the answer.

        Raises:
            BrokerError: the topic was made again, or is missing for good.
        """
        if self._asked is None:
            if self._clock() >= self._look_at:
                self._asked = self._ask()
        elif self._asked.done():
            asked, self._asked = self._asked, None
            self._look_at = self._clock() + LOOK_EVERY_S
            self._judge(asked)

    def look_now(self) -> bool:
        """The same, waiting for the answer, `ASK_S` at most.

        Returns:
            Whether it is known that this is still the topic.

        Raises:
            BrokerError: the topic was made again, or is missing for good.
        """
        return self._judge(self._ask())

    def _judge(self, asked: Future[Any]) -> bool:
        try:
            found = self._told(asked.result())
        except KafkaException as error:
            # Brokers' own words have numbers above 0.
            self._unanswered = self._unanswered + 1 if error.args[0].code() < 0 else 0
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._miss()
            return False  # a broker that is away says nothing about the topic
        self._missing_since = None
        self._unanswered = 0
        if found != self._id:
            raise BrokerError(
                f"the input topic {self._topic!r} was deleted and made again while it was read: start again, "
                "and its events are read from the first one on"
            )
        return True

    def _miss(self) -> None:
        now = self._clock()
        if self._missing_since is None:
            self._missing_since = now
            log.error("the input topic %r does not exist any more; waiting %g s for it", self._topic, MISSING_FOR_S)
        if now - self._missing_since >= MISSING_FOR_S:
            raise BrokerError(f"the input topic {self._topic!r} was deleted: make it again, or set INPUT_TOPIC")

    def _ask(self) -> Future[Any]:
        collection = TopicCollection([self._topic])
        asked: Future[Any] = self._admin.describe_topics(collection, request_timeout=ASK_S)[self._topic]
        return asked

    @staticmethod
    def _told(described: Any) -> str | None:
        told = str(described.topic_id)
        return None if told.strip("A=") == "" else told  # base64 of zeros: brokers before 2.8
