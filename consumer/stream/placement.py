"""Where reading begins in each partition, and what is done when it cannot go on there.

librdkafka goes to the group's committed offset. Left to itself it would answer an offset that is not there
by moving to the first or the last record without a word, so it is told ``auto.offset.reset=error`` and the
decision is made here:

=============================  ======================================================================
the offset                     what is done
=============================  ======================================================================
none is committed              read from the first record: a new group, or a new partition
is below the first record      retention was faster: a loud line says how many are gone; on from there
belongs to another topic       deleted and made again: read the new topic from its first record
lies beyond the end            the brokers lost records, and nobody can tell which are new: end (4)
=============================  ======================================================================

It is carried out in a moment of its own (`begin`): librdkafka takes any change of the assignment for the answer to a
revocation that waits to be polled, and the group then gives those partitions to others while this member still works
on them. Two members with one partition each had its outcomes published, where the answer to a question had taken 4 s.
(One that comes in that very moment is taken for a loss, see `Source._begin`.)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from consumer.errors import BrokerError
from consumer.stream.identity import TopicIdentity

log = logging.getLogger(__name__)

FIRST: Final[int] = OFFSET_BEGINNING
"""Where a partition's first record is, wherever that is by now."""

ASK_S: Final = 5.0
"""How long one question about a partition may take."""

AGAIN_S: Final = 2.0
"""How long nothing is asked once there was no answer. Longer than `absence.OVERDUE_S`: turns that take five seconds one
after the other looked like absences to it, and an instance was in doubt about its name for as long as they went on."""


def ask_committed(consumer: Consumer, topic: str, partitions: Iterable[int], timeout_s: float) -> list[TopicPartition]:
    """What is committed in each of these partitions, in one question.

    Raises:
        KafkaException: it was not answered, or not for all of them; says why.
    """
    found: list[TopicPartition] = consumer.committed(
        [TopicPartition(topic, one) for one in partitions], timeout=timeout_s
    )
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    return found


class Placement:
    """The places of all assigned partitions. Belongs to the thread that polls.

    Args:
        identity: which topic it is; null where the broker cannot say (the embedded one).
        strict: end where an offset is missing (``KAFKA_AUTO_OFFSET_RESET=error``) rather than go on behind the gap.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        identity: TopicIdentity | None,
        *,
        strict: bool,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._consumer = consumer
        self._topic = topic
        self._identity = identity
        self._strict = strict
        self._new: set[int] = set()  # assigned, and nothing read yet
        self._waiting: dict[int, int] = {}  # new, and not known to belong to this topic → the offset that came first
        self._stuck: dict[int, int | None] = {}  # not read any more → the offset that was refused
        self._places: dict[int, int] = {}  # not read any more → where they are to be begun
        self._begun: dict[int, int] = {}  # nothing read yet → where it was begun from here
        self._next: dict[int, int] = {}  # read → what follows
        self._ask_at = -math.inf

    def forget(self, partitions: Iterable[int]) -> None:
        """These partitions change hands: whatever was known of them is over."""
        for partition in partitions:
            self._new.discard(partition)
            for known in (self._waiting, self._stuck, self._places, self._begun, self._next):
                known.pop(partition, None)

    def assigned(self, partitions: Iterable[int]) -> None:
        """These are read from now on."""
        self._new.update(partitions)

    @property
    def unbegun(self) -> frozenset[int]:
        """Assigned, and neither a record has come, nor the end, nor an answer that says where to begin."""
        return frozenset(self._new)

    def arrived(self, partition: int, offset: int, following: int) -> bool:
        """Something was read at this offset; false if it must be dropped, since reading begins elsewhere.

        The first thing that comes out of a partition is the moment to ask which topic its committed offset
        belongs to: the broker has just answered for it, so that the answer is there at once.
        """
        if partition in self._new:
            if partition in self._waiting or partition in self._stuck or partition in self._places:
                return False  # it is read again, from what came first
            found = self._committed([partition])
            if found is None or self.is_foreign(found[partition]):
                self._waiting[partition] = offset
                return False
            if found[partition].offset > offset:  # a twin of this one's name has published it since librdkafka asked
                self._places[partition] = found[partition].offset
                return False
            self._new.discard(partition)
        self._places.pop(partition, None)  # what is read is begun already
        self._begun.pop(partition, None)
        self._next[partition] = following
        return True

    def refused(self, partition: int, offset: int | None) -> None:
        """librdkafka has stopped reading a partition, since this offset is not there; null: none is committed.

        It tells that however late (the errors of a partition have no version), so that a partition may have been begun
        from here since: then it is no news.
        """
        if partition in self._places:
            return  # it is about to be begun
        if offset is None or offset < 0:
            if partition in self._new:
                self._stuck[partition] = None
        elif self._begun.get(partition, offset) in (offset, FIRST):
            self._stuck[partition] = offset

    def unheard(self) -> None:
        """librdkafka failed to learn committed offsets. Where the whole question was refused, as by a coordinator that
        has just moved, it does not ask again (#5586), and what it asked about would stand still for ever."""
        for partition in self._new - self._waiting.keys() - self._stuck.keys() - self._places.keys():
            self._stuck[partition] = None

    def settle(self) -> None:
        """Finds out where to begin to read again what was stopped, for `begin`.

        However many partitions there are, it waits for one answer that does not come, and no longer than twice `ASK_S`.

        Raises:
            BrokerError: nobody can tell where to begin, or the topic was made again while it was read.
        """
        if not self._waiting and not self._stuck:
            return
        self.unheard()  # all that is new begins here, then: an eager `assign` ends what librdkafka asked, see `_begin`
        found = self._committed([*self._waiting, *self._stuck])
        if found is None:
            return
        foreign = {partition for partition, one in found.items() if self.is_foreign(one)}
        if foreign and not self._is_this_topic_known():
            return
        until = self._clock() + ASK_S
        waiting, self._waiting = self._waiting, {}
        stuck, self._stuck = self._stuck, {}
        if fresh := sorted(one for one in stuck if one not in self._next and found[one].offset < 0):
            self._tell_fresh(fresh)
        places = {one: max(offset, found[one].offset) for one, offset in waiting.items()}
        places |= {one: self._first_of_the_new(one, found[one].offset) for one in sorted(foreign)}
        for partition, refused in stuck.items():
            if partition in foreign:
                continue
            place = self._place(partition, refused, found[partition].offset, until)
            if place is None:
                self._stuck[partition] = refused
            else:
                places[partition] = place
        self._places |= places

    @property
    def is_to_begin(self) -> bool:
        """Whether `begin` has something to do."""
        return bool(self._places)

    def begin(self) -> bool:
        """Begins to read where `settle` has found, which changes the assignment; false if there is nothing to begin. To
        be called right after a poll that came back empty: then no revocation waits, but for one of that moment."""
        places, self._places = self._places, {}
        if places:
            self._begin(places)
        return bool(places)

    def _tell_fresh(self, partitions: list[int]) -> None:
        where = f"partitions {partitions} of {self._topic} have no committed offset"
        if self._strict:
            raise BrokerError(f"{where}, and KAFKA_AUTO_OFFSET_RESET=error: set one")
        log.info("%s: they are read from their first record on", where)

    def _place(self, partition: int, refused: int | None, committed: int, until: float) -> int | None:
        """Where to begin instead of at the offset that was refused; null if the broker must be asked, but not this
        turn: one that was asked did not answer, or the time is over.

        As long as nothing has been read since the partition was assigned, the refusal may be of an earlier assignment:
        librdkafka keeps it for whoever polls. Others have gone on meanwhile, so what is committed now counts.
        """
        if partition in self._next:
            offset = self._next[partition] if refused is None else refused
        elif committed >= 0:
            offset = committed
        else:
            return FIRST
        if offset != refused:
            return offset  # it was not refused yet
        if self._clock() < self._ask_at or self._clock() > until:
            return None
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=ASK_S)
        except KafkaException:
            self._ask_at = self._clock() + AGAIN_S
            return offset  # it is refused again, and asked again
        where = f"partition {partition} of {self._topic}"
        if offset < low:
            gone = f"{low - offset} offsets of {where} are gone unread ({offset} to {low - 1}): retention was faster"
            if self._strict:
                raise BrokerError(f"{gone}, and KAFKA_AUTO_OFFSET_RESET=error: move the group's offsets, then start")
            log.error("%s; going on at %d", gone, low)
            return int(low)
        if offset > high or offset < self._next.get(partition, 0):
            raise BrokerError(
                f"{where} ends at {high}, and {max(offset, self._next.get(partition, 0))} was read up to: the brokers "
                "have lost records; say where to go on with kafka-consumer-groups.sh --reset-offsets, then start"
            )
        return offset

    def _first_of_the_new(self, partition: int, offset: int) -> int:
        where = f"partition {partition} of {self._topic}"
        log.error("%s was made again since offset %d was committed: it is read from its first record on", where, offset)
        return FIRST

    def _committed(self, partitions: list[int]) -> dict[int, TopicPartition] | None:
        """What is committed in each of these partitions, in one question; null if the broker does not say.

        Then nobody is asked for a while, so that a turn waits for one question.
        """
        if self._clock() < self._ask_at:
            return None
        try:
            found = ask_committed(self._consumer, self._topic, partitions, ASK_S)
        except KafkaException as raised:
            reason = raised.args[0].str()
            log.warning("the committed offsets of partitions %s could not be read: %s", sorted(partitions), reason)
            self._ask_at = self._clock() + AGAIN_S
            return None
        return {one.partition: one for one in found}

    def is_foreign(self, found: TopicPartition) -> bool:
        """Whether it was committed in another topic of this name."""
        return self._identity is not None and self._identity.is_foreign(found.metadata)

    def _is_this_topic_known(self) -> bool:
        """Whether this topic is the one that is there now. If this process knows the former one only, it ends here."""
        assert self._identity is not None
        known = self._identity.look_now()
        if not known:
            self._ask_at = self._clock() + AGAIN_S
        return known

    def _begin(self, places: Mapping[int, int]) -> None:
        """Reads these partitions from these offsets on. (`seek` works only in partitions that are being read.)"""
        self._new.difference_update(places)
        self._begun.update(places)
        try:
            self._consumer.incremental_unassign(self._at(places))
            self._consumer.incremental_assign(self._at(places))
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise
            # The eager assignors know the whole assignment only. The others go on where they are, which librdkafka's
            # `position` does not know of those that have given no record yet: it would ask what is committed there once
            # more, a question that may be lost, and in a partition that is at its end nobody would notice.
            known = self._next | self._begun
            self._consumer.assign(self._at({one: known[one] for one in known if one not in self._stuck}))

    def _at(self, places: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition, offset in places.items()]
