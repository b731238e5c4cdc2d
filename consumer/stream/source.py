"""The input topic, as the loop sees it: records out, pauses in, assignments through a listener.

A thin layer around confluent-kafka's consumer. All of it belongs to one thread; the listener's
methods are called inside `Source.poll` and `Source.close`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from confluent_kafka import (
    OFFSET_INVALID,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from consumer.errors import BrokerError, FatalError
from consumer.logs import Repeats
from consumer.records import Record
from consumer.stream.clients import AnsweringConsumer, CommitAnswer
from consumer.stream.identity import TopicIdentity
from consumer.stream.membership import membership_in
from consumer.stream.messages import record_of
from consumer.stream.orphans import Orphans
from consumer.stream.placement import Placement, ask_committed
from consumer.stream.seat import Seat

log = logging.getLogger(__name__)

FENCED = {KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED, KafkaError._FATAL}
OF_A_PARTITION = {KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET}
FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}

POLL_BYTES = 8 * 2**20
"""A poll ends with the record that reaches so many. The core counts bytes between two polls only, and has room for
thousands of events: of the largest ones that would be gigabytes, if the broker is quick."""

OUTLIVED = "a newer instance has taken this one's INSTANCE_ID"

NOBODYS = 2**31 - 1
"""A partition that no topic has: the largest number that one could have."""


class Listener(Protocol):
    """Who wants to know about assignments."""

    def assigned(self, partitions: list[int]) -> None:
        """These partitions are ours from now on."""

    def revoked(self, partitions: list[int]) -> None:
        """These will be taken away when this returns: the last chance to commit."""

    def lost(self, partitions: list[int]) -> None:
        """These are gone already: nothing of them can be committed."""


def _end(error: FatalError) -> None:
    raise error


class Source:
    """The input topic.

    Args:
        consumer: made by `consumer.stream.clients`.
        topic: its name.
        orphans: finds partitions that are with nobody; for members whose place in the group outlives them.
        identity: which topic this is, to notice when it is made again; null where the broker cannot say.
        seat: its place in the group, where another process may take it.
        outlived: called when that has happened, and not to return: as soon as it does, the client takes the place back.
            What it raises comes out of `poll`.
        strict: see `Placement`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        consumer: AnsweringConsumer,
        topic: str,
        *,
        orphans: Orphans | None = None,
        identity: TopicIdentity | None = None,
        seat: Seat | None = None,
        outlived: Callable[[FatalError], None] = _end,
        strict: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._orphans = orphans
        self._join: Callable[[], None] | None = None
        self._joined = False
        self._held: set[int] = set()
        self._member = ""  # that they were assigned to
        self._seat = seat
        self._outlived = outlived
        self._names: set[str] = set()  # of this process in the group
        self._forgotten = False
        self._identity = identity
        self._placement = Placement(consumer, topic, identity, strict=strict, clock=clock)
        self._unheard = False  # a revocation may wait that is answered already
        self._paused: set[int] = set()
        self._ends: dict[int, int] = {}
        self._gathered: list[Record] = []
        self._terms: dict[int, int] = {}
        self._assignments = 0
        self._troubles = Repeats(log)
        self._closed = False

    def subscribe(self, listener: Listener) -> None:
        """Joins the group; assignments come through the listener from `poll`."""

        def numbers(partitions: Iterable[TopicPartition]) -> list[int]:
            chosen = [one.partition for one in partitions if one.topic == self._topic]
            for partition in chosen:
                self._ends.pop(partition, None)
            self._paused.difference_update(chosen)  # whether they still are is told after every assignment
            self._placement.forget(chosen)
            # What was gathered before this change belongs to the tenure that ends with it.
            self._gathered = [record for record in self._gathered if record.partition not in chosen]
            return chosen

        def assigned(partitions: Iterable[TopicPartition]) -> None:
            if not self._held:
                self._member = self._consumer.memberid()
                self._names.add(self._member)
            if self._orphans is not None:
                self._orphans.changed()
            chosen = numbers(partitions)
            self._held.update(chosen)
            self._assignments += 1
            self._terms |= dict.fromkeys(chosen, self._assignments)
            self._placement.assigned(chosen)
            listener.assigned(chosen)

        def gone(partitions: Iterable[TopicPartition], tell: Callable[[list[int]], None]) -> None:
            chosen = numbers(partitions)
            tell(chosen)
            self._held.difference_update(chosen)
            for partition in chosen:
                self._terms.pop(partition, None)

        def lost(partitions: Iterable[TopicPartition]) -> None:
            gone(partitions, listener.lost)
            if self._seat is not None and not self._closed and self._seat.is_taken(self._names):
                self._outlived(FatalError(OUTLIVED))

        self._join = partial(
            self._consumer.subscribe,
            [self._topic],
            on_assign=lambda _, partitions: assigned(partitions),
            on_revoke=lambda _, partitions: gone(partitions, listener.lost if self._unheard else listener.revoked),
            on_lost=lambda _, partitions: lost(partitions),
        )
        self._join()
        self._joined = True

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        """Up to ``most`` records (at least one), or `POLL_BYTES` of them, waiting for the first one only.

        Must be called at least every ``max.poll.interval.ms``, also while everything is paused.

        One client call a record, and not ``consume()``: that one may return records of a partition
        that it revoked and assigned again in the same call, which the ledger could not tell apart.

        Raises:
            BrokerError: a right is missing, the topic is gone or was made again, or a partition cannot be read on.
            FatalError: this member was fenced, or the client broke.
        """
        self._gathered = []
        self._join_anew()
        if self._identity is not None:
            self._identity.look()
        size = 0
        message = self._consumer.poll(0.0 if self._placement.is_to_begin else timeout_s)
        while message is not None or self._begin():
            if message is not None and self._is_record(message):
                record = record_of(message)
                self._gathered.append(record)
                size += record.size
                if len(self._gathered) >= most or size >= POLL_BYTES:
                    break
            message = self._consumer.poll(0)
        self._placement.settle()
        return self._gathered

    def pause(self, partitions: Iterable[int]) -> None:
        """Fetches no more from these partitions; they stay ours as long as `poll` is called."""
        self._paused.update(partitions)
        self._consumer.pause(self._name(partitions))

    def resume(self, partitions: Iterable[int]) -> None:
        """Fetches from these partitions again."""
        self._paused.difference_update(partitions)
        self._consumer.resume(self._name(partitions))

    def committed(self, partitions: Iterable[int], timeout_s: float) -> dict[int, int] | None:
        """The committed offsets, -1 where there is none in this topic; null if the broker does not say.

        One that was committed in a topic of this name that was deleted says nothing of this one's records: an aborted
        transaction was taken for committed by it, where the new topic had been read just as far.

        Waits for transactions that are being ended, since the consumer reads committed records only.
        """
        try:
            found = ask_committed(self._consumer, self._topic, partitions, timeout_s)
        except KafkaException as error:
            self._troubles.warning("committed", "the committed offsets could not be read: %s", error.args[0].str())
            return None
        self._troubles.over("committed")
        none = {one.partition for one in found if one.offset == OFFSET_INVALID or self._placement.is_foreign(one)}
        return {one.partition: -1 if one.partition in none else one.offset for one in found}

    def is_answered(self, timeout_s: float) -> bool:
        """Whether the group's coordinator answers this member now, whatever it says.

        It is asked for a partition that nobody has: of the others it says nothing while a transaction is open there.
        """
        try:
            self._consumer.committed(self._name([NOBODYS]), timeout=timeout_s)
        except KafkaException:
            return False
        return True

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Sends a commit outside of a transaction; its answer comes into `commit_answers` by a later `poll`.

        Raises:
            KafkaException: it was not sent.
        """
        self._consumer.commit(offsets=self.positions(offsets), asynchronous=True)

    @property
    def commit_answers(self) -> deque[CommitAnswer]:
        """What became of commits, oldest first; whoever takes an answer in takes it out."""
        return self._consumer.commit_answers

    def positions(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        """The client's form of partition → offset, marked with the topic that they belong to."""
        mark = self._identity.mark if self._identity else ""
        return [TopicPartition(self._topic, partition, offset, mark) for partition, offset in offsets.items()]

    def terms(self) -> Mapping[int, int]:
        """The partitions that are assigned now → a number that is new with each assignment."""
        return self._terms

    def joined(self) -> bool:
        """Whether the coordinator has taken this member in, with partitions or without. Asks no broker.

        With ``group.protocol=consumer`` librdkafka tells nothing of an assignment that is empty and stays so. But its
        group metadata carry the member's epoch.
        """
        found = membership_in(self._consumer.consumer_group_metadata())
        if found is None:
            return bool(self._held)
        return found.generation > 0 and bool(found.name)  # which a classic member loses first

    def group_metadata(self) -> Any | None:
        """What fences a zombie's transaction, read afresh each time; null while not in the group.

        Metadata of a member that never joined is accepted by the broker without fencing, so they are read for the
        member's name. (Where they cannot be read, it is asked last: its heartbeat thread may lose it at any moment.)

        And they are given out to the member only that the partitions were assigned to. A group that has
        forgotten a member with a stable name takes it in as a new one, and librdkafka keeps its partitions
        through that without a word (JoinGroup answered with UNKNOWN_MEMBER_ID, cooperative): others may have
        worked on them meanwhile, and the new member's metadata would not fence the old one's outcomes.
        """
        metadata = self._consumer.consumer_group_metadata()
        found = membership_in(metadata)
        member = self._consumer.memberid() if found is None else found.name
        self._names.add(member)
        self._forgotten = bool(self._held and member) and member != self._member
        return metadata if member and not self._forgotten and not self._unheard else None

    def in_vain(self) -> bool:
        """Whether the brokers answer nothing: known by the looks at the topic's identity, so it asks none."""
        return self._identity is not None and self._identity.in_vain

    def unbegun(self) -> dict[int, bool]:
        """Partitions of which nothing has come yet, neither a record, nor their end, nor where to begin → whether they
        are paused."""
        return {partition: partition in self._paused for partition in self._placement.unbegun}

    def lag(self, partition: int, next_offset: int | None) -> int | None:
        """Offsets from the first that is not committed to the partition's end; null while unknown.

        ``next_offset`` is that first one, null when nothing is held. Transaction markers take offsets
        without being events: once everything before the end has been read, an empty ledger means 0.
        """
        place = TopicPartition(self._topic, partition)
        low, high = self._consumer.get_watermark_offsets(place, cached=True)
        if high < 0:
            return None
        if next_offset is None:
            if self._ends.get(partition, -1) >= high:
                return 0
            position = self._consumer.position([place])[0].offset
            next_offset = position if position >= 0 else low
        return max(0, int(high) - next_offset)

    def close(self) -> None:
        """Leaves the group; the listener's ``revoked`` is called for what is still ours. Again does nothing."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _begin(self) -> bool:
        """Begins to read what `Placement` has found, now that a poll came back empty; false if there was nothing.

        A revocation that came between that poll and the beginning is answered by it, and the partitions may be with
        others before this member has heard of it: then they are lost, and until an empty poll tells that there is none
        nothing is published.
        """
        self._unheard = self._placement.begin()
        return self._unheard

    def _join_anew(self) -> None:
        """Leaves and joins again, which makes the group share everything out anew, where that is needed."""
        if self._joined:
            orphans = self._orphans.found() if self._orphans is not None else None
            if self._forgotten:
                log.warning("the group has forgotten this member and took it in as a new one: joining it anew")
            elif orphans:
                log.warning("partitions %s of %s are with nobody: joining the group anew", sorted(orphans), self._topic)
            else:
                return
            self._consumer.unsubscribe()  # leaves in earnest: only `close` keeps a stable name's place
            self._joined = False
        elif self._join is not None and not self._held:
            self._forgotten = False
            self._join()
            self._joined = True

    def _name(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    def _is_record(self, message: Message) -> bool:
        error, partition = message.error(), message.partition()
        if (error is None or error.code() in OF_A_PARTITION) and partition not in self._terms:
            return False  # librdkafka also hands out what it had to say of a partition that it has given up since
        if error is None:
            return self._placement.arrived(partition, message.offset(), message.offset() + 1)
        if error.code() == KafkaError._PARTITION_EOF:
            if self._placement.arrived(partition, message.offset(), message.offset()):
                self._ends[partition] = message.offset()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._placement.refused(partition, message.offset())
        elif error.code() in FORBIDDEN:
            raise BrokerError(f"not authorised to read: {error.str()}; grant Read on the topic and on the group")
        elif "group.instance.id" in error.str():  # the code may be that of all fatal errors
            told = error.str().removeprefix("Fatal error: ").partition(": Fatal consumer error")[0]
            raise FatalError(
                "another member has this one's INSTANCE_ID: a newer instance (give each its own), or this one itself, "
                f"joined again after it was cut off for as long as its session ({told})"
            )
        elif error.code() in FENCED or error.fatal():
            raise FatalError(f"the consumer cannot go on: {error.str()}")
        else:
            if "committed offset" in error.str():  # its code is that of the answer
                self._placement.unheard()
            self._troubles.warning(error.code(), "Kafka consumer: %s", error.str())
        return False
