"""A consumer with the face of confluent-kafka's and the ways of librdkafka 2.16.

What its background thread does (heartbeats, joining, offsets of new partitions) happens between any two
calls; callbacks run inside of `poll` and `close` only. A pause survives revocation and re-assignment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from confluent_kafka import OFFSET_INVALID, TIMESTAMP_CREATE_TIME, KafkaError, KafkaException, TopicPartition

from tests.simulation.agenda import Agenda
from tests.simulation.answers import Refused, TimedOut, plain
from tests.simulation.broker import Broker
from tests.simulation.dice import Dice
from tests.simulation.group import GroupMetadata
from tests.simulation.process import Process

REQUEST_S = 60.0
"""How long librdkafka waits for the answer to a commit that nobody waits for."""


class Message:
    """A record, or an error, as ``poll`` gives it."""

    def __init__(self, topic: str, partition: int, offset: int, entry: Any, error: KafkaError | None = None) -> None:
        self._place = topic, partition, offset
        self._entry = entry
        self._error = error

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._place[2]

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self._entry.timestamp_ms

    def key(self) -> bytes | None:
        return self._entry.key  # type: ignore[no-any-return]

    def value(self) -> bytes | None:
        return self._entry.value  # type: ignore[no-any-return]

    def headers(self) -> None:
        return None


class Consumer:
    """One member of the group, or none as long as it has not subscribed.

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
        self._process = process
        self._broker = broker
        self._agenda = agenda
        self._dice = dice
        self._eager = config["partition.assignment.strategy"] == "range"
        self._instance: str | None = config.get("group.instance.id")
        self._reset = config["auto.offset.reset"]
        self._heartbeat_s = config["heartbeat.interval.ms"] / 1000
        self._session_s = config["session.timeout.ms"] / 1000
        self._rebalance_s = config["max.poll.interval.ms"] / 1000
        self._topic = broker.input
        self._callbacks: dict[str, Callable[[Any, list[TopicPartition]], None]] = {}
        self._ops: deque[tuple[Literal["assign", "revoke", "lost", "error"], Any]] = deque()
        self._member = ""
        self._generation = -1
        self._positions: dict[int, int | None] = {}  # of what is assigned; null: its committed offset is being asked
        self._ended: dict[int, int] = {}  # partition → end that the application was told
        self._paused: set[int] = set()
        self._joining = False
        self._lost = False
        self._serving = False  # a callback runs, and no other is begun
        self._rejoin = False  # as soon as the callbacks that are due have run
        self._leaving = False
        self._closed = False
        self._broken: int | None = None
        self._errors: deque[Message] = deque()
        self._answers: deque[tuple[KafkaError | None, list[TopicPartition]]] = deque()  # that no poll has told yet
        self._line_until = 0.0
        self.commit_answers: deque[tuple[KafkaError | None, list[TopicPartition]]] = deque()
        """As `consumer.stream.clients.AnsweringConsumer` keeps them."""
        process.on_stop = self._stopped
        process.on_kill = self._died

    # ── the group ────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, topics: list[str], **callbacks: Callable[[Any, list[TopicPartition]], None]) -> None:
        self._callbacks = callbacks
        self._leaving = False
        self._broker.on_news(self, self._process.wake)
        self._join_soon()

    def unsubscribe(self) -> None:
        """Leaves in earnest, with a stable name too, once the callback for what is held has run."""
        self._leaving = True
        self._ops.clear()
        if self._positions:
            self._push("revoke", list(self._positions))
        else:
            self._leave()

    def memberid(self) -> str:
        self._preempt()
        return self._member

    def consumer_group_metadata(self) -> GroupMetadata:
        self._preempt()
        return self._generation, self._member, self._instance if self._member else None

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in self._positions]

    def hear(self, code: int | None) -> None:
        """`tests.simulation.group.Client`: at the next heartbeat."""
        member = self._member
        self._agenda.after(
            self._dice.between(0.0, self._heartbeat_s),
            lambda: self._process.background(partial(self._heard, member, code)),
        )

    def joined(self, generation: int, partitions: list[int]) -> None:
        """`tests.simulation.group.Client`: the answers to ``JoinGroup`` and ``SyncGroup``."""
        self._agenda.after(
            self._dice.short(), lambda: self._process.background(partial(self._synced, generation, partitions))
        )

    # ── records ──────────────────────────────────────────────────────────────────────────────────

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
        for one in partitions:
            self._positions.pop(one.partition, None)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        if self._eager:
            raise plain(KafkaError._STATE, "not a cooperative assignor")
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

    # ── offsets ──────────────────────────────────────────────────────────────────────────────────

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        numbers = [one.partition for one in partitions]
        found = self._ask("committed", lambda: [self._broker.committed(number) for number in numbers], timeout)
        return [
            TopicPartition(self._topic, number, offset if offset >= 0 else OFFSET_INVALID)
            for number, offset in zip(numbers, found, strict=True)
        ]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        metadata = self._generation, self._member, self._instance if self._member else None
        chosen = {one.partition: one.offset for one in offsets}
        if not asynchronous:
            self._ask("commit", lambda: self._broker.commit_offsets(chosen, metadata), 60.0)
            return offsets

        def answer(code: int | None) -> None:
            error = None if code is None else KafkaError(code)
            places = [TopicPartition(self._topic, p, offset) for p, offset in chosen.items()]
            self._answers.append((error, places))

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

    def _leave(self) -> None:
        if self._member:
            member = self._member
            self._agenda.after(self._in_line(self._dice.short()), lambda: self._broker.group.leave(member))
        self._member, self._generation, self._rejoin = "", -1, False

    def _in_line(self, delay_s: float) -> float:
        """Requests to the coordinator go over one connection: none overtakes an earlier one."""
        self._line_until = max(self._line_until, self._agenda.now + delay_s)
        return self._line_until - self._agenda.now

    # ── inside: what the background thread does ──────────────────────────────────────────────────

    def _join_soon(self) -> None:
        if not self._joining and not self._closed:
            self._joining = True
            delay = self._in_line(self._dice.between(0.001, 0.05))
            self._agenda.after(delay, lambda: self._process.background(self._join))

    def _join(self) -> None:
        self._joining = False
        if self._closed or self._broken or self._leaving:
            return
        owned = [] if self._eager else list(self._positions)
        try:
            self._member = self._broker.group.join(self._member, self._instance, self, owned)
        except Refused as refused:
            if refused.code == KafkaError.UNKNOWN_MEMBER_ID:
                # The group has forgotten this member. It joins as a new one, and the application is not told:
                # under cooperative-sticky it still holds what the old one was given (seen with 2.16).
                self._member, self._generation = "", -1
                self._join_soon()
            else:
                self._heard(self._member, refused.code)
            return
        self._dice.tell(self._process.name, "joins as {}, holding {}", self._member, owned)
        asked = self._broker.group.generation
        self._agenda.after(self._rebalance_s, lambda: self._give_up_waiting(asked))

    def _give_up_waiting(self, asked: int) -> None:
        if self._broker.group.generation == asked:
            self._broker.group.give_up_waiting()

    def _heard(self, member: str, code: int | None) -> None:
        if self._closed or self._broken or self._leaving or member != self._member:
            return
        if code == KafkaError.UNKNOWN_MEMBER_ID and self._instance and self._broker.group.knows(self._instance):
            code = KafkaError.FENCED_INSTANCE_ID
        if code is None:
            if self._ops or self._serving:
                self._rejoin = True
            elif self._eager and self._positions:
                self._push("revoke", list(self._positions))
            else:
                self._join_soon()
        elif code == KafkaError.FENCED_INSTANCE_ID:
            self._broken = code
            self._push("error", code)
        else:
            self._dice.tell(self._process.name, "is no member any more")
            self._member, self._generation = "", -1
            self._ops.clear()
            self._lost = True
            if not self._serving:
                self._lose()

    def _lose(self) -> None:
        """What is held is lost, which the application is told before this member joins again."""
        self._lost = False
        if self._positions:
            self._push("lost", list(self._positions))
        else:
            self._join_soon()

    def _synced(self, generation: int, partitions: list[int]) -> None:
        if self._closed or self._broken or self._leaving or not self._member or self._joining:
            return  # with the next rebalance under way already, SyncGroup is answered with REBALANCE_IN_PROGRESS
        self._generation = generation
        if self._eager:
            self._push("assign", partitions)
            return
        gone = [partition for partition in self._positions if partition not in partitions]
        new = [partition for partition in partitions if partition not in self._positions]
        if gone:
            self._push("revoke", gone)
        if new or not gone:
            self._push("assign", new)

    def _push(self, op: Literal["assign", "revoke", "lost", "error"], value: Any) -> None:
        self._ops.append((op, value))
        self._process.wake()

    def _stopped(self) -> None:
        """No heartbeats for a while: long enough, and the session ends."""
        member, stops = self._member, self._process.stops

        def expire() -> None:
            if self._process.stopped and self._process.stops == stops and not self._process.dead:
                self._expire(member)

        if member:
            self._agenda.after(self._session_s, expire)

    def _died(self) -> None:
        """The process is gone: the coordinator finds out when the session ends."""
        self._broker.on_news(self, None)
        if self._member:
            self._expire_later()

    def _expire_later(self) -> None:
        member = self._member
        self._agenda.after(self._session_s, lambda: self._expire(member))

    def _expire(self, member: str) -> None:
        if member in self._broker.group.members:
            self._dice.tell("broker", "ends the session of {}", member)
            self._broker.group.leave(member)
            heard = partial(self._heard, member, KafkaError.UNKNOWN_MEMBER_ID)
            self._agenda.after(0.0, lambda: self._process.background(heard))

    # ── inside: what the application's calls do ──────────────────────────────────────────────────

    def _serve(self) -> None:
        op, value = self._ops.popleft()
        if op == "error":
            return  # `_next` tells it
        partitions = [p for p in value if op == "assign" or p in self._positions]
        self._dice.tell(self._process.name, "{} {}", op, partitions)
        self._serving = True
        self._call({"assign": "on_assign", "revoke": "on_revoke", "lost": "on_lost"}[op], partitions)
        self._serving = False
        if op == "assign":
            self._begin([TopicPartition(self._topic, partition, OFFSET_INVALID) for partition in partitions])
        else:
            for partition in partitions:
                self._positions.pop(partition, None)
            self._rejoin = True
        if self._leaving:
            self._leave()
        elif self._lost:
            self._lose()
        elif self._rejoin and not self._ops:
            self._rejoin = False
            self._heard(self._member, None)

    def _call(self, name: str, partitions: list[int]) -> None:
        self._callbacks[name](self, [TopicPartition(self._topic, partition) for partition in partitions])

    def _begin(self, places: list[TopicPartition]) -> None:
        for one in places:
            self._ended.pop(one.partition, None)
            if one.offset == OFFSET_INVALID:
                self._positions[one.partition] = None
                self._ask_committed(one.partition)
            else:
                self._positions[one.partition] = max(0, one.offset)

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
            # Seen with 2.16: the code says it, `fatal()` does not.
            error = KafkaError(KafkaError._FATAL, f"Fatal error: {KafkaError(self._broken).name()}")
            return Message(self._topic, 0, -1, None, error)
        while self._errors:
            message = self._errors.popleft()
            if self._positions.get(message.partition(), 0) is None:
                return message
        for partition, position in self._positions.items():
            if position is None or partition in self._paused:
                continue
            log = self._broker.logs[self._topic, partition]
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

    def _preempt(self) -> None:
        """Between any two calls other threads may get their turn, and the process may be stopped or killed."""
        fate = self._dice.hiccup()
        if fate is not None:
            self._process.hiccup(*fate)


__all__ = ["Consumer", "KafkaException", "Message"]
