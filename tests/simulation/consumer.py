"""A consumer with the face of confluent-kafka's and the ways of librdkafka 2.16: records, places, offsets.

A pause survives revocation and re-assignment. Nothing is fetched ahead: a record is read from its log when
it is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaError, TopicPartition

from tests.simulation.agenda import Agenda
from tests.simulation.answers import Refused, TimedOut, plain
from tests.simulation.broker import Broker
from tests.simulation.dice import Dice
from tests.simulation.membership import Membership
from tests.simulation.message import Message
from tests.simulation.offsets import Offset
from tests.simulation.process import Process

REQUEST_S = 60.0
"""How long librdkafka waits for the answer to a commit that nobody waits for."""


class Consumer(Membership):
    """See the module's text.

    Args:
        config: librdkafka's properties; of them the group's times, the assignor, ``group.instance.id`` and
            ``auto.offset.reset`` matter here.
    """

    def __init__(
        self,
        process: Process,
        broker: Broker,
        agenda: Agenda,
        dice: Dice,
        config: Mapping[str, Any],
    ) -> None:
        super().__init__(process, broker, agenda, dice, config)
        self._reset = config["auto.offset.reset"]
        self._ended: dict[int, int] = {}  # partition → end that the application was told
        self.began: dict[int, float] = {}
        """Partition → when its committed offset was read last, to begin there."""
        self._told: dict[int, float] = {}  # partition → when the application was told its committed offset
        self._paused: set[int] = set()
        self._told_broken = False
        self._errors: deque[Message] = deque()
        self._answers: deque[tuple[KafkaError | None, list[TopicPartition]]] = deque()  # that no poll has told yet
        self.commit_answers: deque[tuple[KafkaError | None, list[TopicPartition]]] = deque()
        """As `consumer.stream.clients.AnsweringConsumer` keeps them."""

    def poll(self, timeout: float) -> Message | None:
        self._preempt()
        deadline = self._agenda.now + timeout
        while True:
            while self._answers:
                self.commit_answers.append(self._answers.popleft())
            if self._ops and (len(self._ops) > 1 or self._dice.chance(0.7)):
                self._serve()
            message = self._next()
            if message is not None or (self._agenda.now >= deadline and not self._ops):
                return message
            if not self._ops:
                self._process.wait(deadline - self._agenda.now, idle=timeout >= 0.1)
                if self._agenda.now >= deadline and not self._ops:
                    return self._next()

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._paused.update(one.partition for one in partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._paused.difference_update(one.partition for one in partitions)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        if self._eager:
            raise plain(KafkaError._STATE, "not a cooperative assignor")
        self._preempt(rarely=False)  # a revocation comes just now
        for one in partitions:
            if one.partition not in self._positions:
                raise plain(KafkaError._INVALID_ARG, f"{one.partition} is not in the current assignment")
            self._positions[one.partition] = None  # for the group it is this member's all the while
        self._answer_what_waits()

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        if self._eager:
            raise plain(KafkaError._STATE, "not a cooperative assignor")
        self._preempt(rarely=False)
        self._begin(partitions)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._positions.clear()
        self._begin(partitions)

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, one.partition, self._position(one.partition)) for one in partitions]

    def get_watermark_offsets(
        self, place: TopicPartition, *, cached: bool = False, timeout: float = 0.0
    ) -> tuple[int, int]:
        return 0, self._broker.logs[self._topic, place.partition].stable_end

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        numbers = [one.partition for one in partitions]

        def look() -> list[int]:
            self._told |= dict.fromkeys(numbers, self._agenda.now)
            return [self._broker.committed(number) for number in numbers]

        found = self._ask("committed", look, timeout)
        return [
            TopicPartition(self._topic, number, offset, offset.mark)
            if isinstance(offset, Offset)
            else TopicPartition(self._topic, number, OFFSET_INVALID)
            for number, offset in zip(numbers, found, strict=True)
        ]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        metadata = self._generation, self._member, self._instance if self._member else None
        chosen = {one.partition: Offset.of(one) for one in offsets}
        if not asynchronous:
            self._ask("commit", lambda: self._broker.commit_offsets(chosen, metadata), 60.0)
            return offsets

        def answer(code: int | None) -> None:
            error = None if code is None else KafkaError(code)
            places = [TopicPartition(self._topic, p, offset) for p, offset in chosen.items()]
            self._answers.append((error, places))
            self._process.wake()

        self._preempt()
        do = partial(self._broker.commit_offsets, chosen, metadata)
        self._process.post("commit", do, answer, self._in_line(self._dice.short()), REQUEST_S)
        return None

    def close(self) -> None:
        self._preempt()
        if self._closed:
            return
        self._closed = True
        self._ops.clear()
        if self._positions:
            self._call("on_revoke", list(self._positions))
            self._positions.clear()
        self._broker.on_news(self, None)
        if self._member and self._instance is not None:
            self._expire_later()  # a static member leaves without a word
            self._member = ""
        self._leave()

    def _begin(self, places: list[TopicPartition]) -> None:
        for one in places:
            self._ended.pop(one.partition, None)
            if one.offset == OFFSET_INVALID:
                self._positions[one.partition] = None
                self._ask_committed(one.partition)
            else:
                self._positions[one.partition] = max(0, one.offset)
                if one.partition in self._told:
                    self.began[one.partition] = self._told[one.partition]

    def _ask_committed(self, partition: int) -> None:
        """Begins where the group's committed offset is, once no open transaction can change it."""

        def look() -> None:
            if self._positions.get(partition, 0) is not None or self._closed:
                return
            try:
                committed = self._broker.committed(partition)
            except Refused:
                self._agenda.after(0.1, lambda: self._process.background(look))
                return
            self.began[partition] = self._agenda.now
            if committed >= 0:
                self._positions[partition] = committed
            elif self._reset == "earliest":
                self._positions[partition] = 0
            else:
                error = KafkaError(KafkaError._AUTO_OFFSET_RESET)
                self._errors.append(Message(self._topic, partition, OFFSET_INVALID, None, error))
            self._process.wake()

        self._agenda.after(self._dice.short(), lambda: self._process.background(look))

    def _next(self) -> Message | None:
        if self._broken:
            if self._told_broken:
                return None
            self._told_broken = True
            # Seen with 2.16: the code says it, `fatal()` does not.
            error = KafkaError(KafkaError._FATAL, f"Fatal error: {KafkaError(self._broken).name()}")
            return Message(self._topic, 0, -1, None, error)
        if self._errors:  # also of partitions that were given up since, as librdkafka does
            return self._errors.popleft()
        for partition, position in self._positions.items():
            if position is None or partition in self._paused:
                continue
            log = self._broker.logs[self._topic, partition]
            if position > log.end:  # the topic was made again
                self._positions[partition] = None
                return Message(self._topic, partition, position, None, KafkaError(KafkaError._AUTO_OFFSET_RESET))
            offset = log.next_visible(position)
            if offset is not None:
                self._positions[partition] = offset + 1
                return Message(self._topic, partition, offset, log.entries[offset])
            end = log.stable_end
            if self._ended.get(partition) != end:
                self._positions[partition] = self._ended[partition] = end
                return Message(self._topic, partition, end, None, KafkaError(KafkaError._PARTITION_EOF))
        return None

    def _position(self, partition: int) -> int:
        position = self._positions.get(partition)
        return OFFSET_INVALID if position is None else position

    def _ask(self, request: str, do: Callable[[], Any], timeout: float) -> Any:
        try:
            return self._process.ask(request, do, timeout)
        except TimedOut:
            raise plain(KafkaError._TIMED_OUT, f"{request}: no answer") from None
        except Refused as refused:
            raise plain(refused.code, request) from None
