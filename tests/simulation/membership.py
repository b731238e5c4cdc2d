"""The group's side of the simulated consumer: what librdkafka's background thread does, and its callbacks.

Heartbeats, joining and leaving happen between any two calls of the application; its callbacks run inside of
``poll`` and ``close`` only, and while one runs nothing else of the group is begun.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from confluent_kafka import OFFSET_INVALID, KafkaError, TopicPartition

from tests.simulation.agenda import Agenda
from tests.simulation.answers import Refused
from tests.simulation.broker import Broker
from tests.simulation.dice import Dice
from tests.simulation.group import GroupMetadata
from tests.simulation.heartbeats import HeartbeatCoordinator
from tests.simulation.process import Process

BROKERS_HEARTBEAT_S, BROKERS_SESSION_S = 5.0, 45.0
"""What the consumer protocol has by default (``group.consumer.heartbeat.interval.ms``, ``….session.timeout.ms``)."""


class Membership(ABC):
    """One member of the group, or none as long as it has not subscribed."""

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
        self._by_heartbeats = config.get("group.protocol") == "consumer"
        self._eager = config.get("partition.assignment.strategy") == "range"
        self._instance: str | None = config.get("group.instance.id")
        self._heartbeat_s = config.get("heartbeat.interval.ms", BROKERS_HEARTBEAT_S * 1000) / 1000
        self._session_s = config.get("session.timeout.ms", BROKERS_SESSION_S * 1000) / 1000
        self._rebalance_s = config["max.poll.interval.ms"] / 1000
        self._topic = broker.input
        self._callbacks: dict[str, Callable[[Any, list[TopicPartition]], None]] = {}
        self._ops: deque[tuple[Literal["assign", "revoke", "lost", "error"], Any]] = deque()
        self._member = ""
        self._generation = -1
        self._given_in = -1  # the generation in which it was given what it holds
        self._positions: dict[int, int | None] = {}  # of what is assigned; null: its committed offset is being asked
        self._joining = False
        self._in_transit = False  # a heartbeat of the consumer protocol is: one at a time
        self._answered = True  # whether its answer will get here
        self._joins = 0  # how often it has asked to join
        self._lost = False
        self._disowned: set[int] = set()  # the group was told that they are given up, and the application was not yet
        self._serving = False  # a callback runs, and no other is begun
        self._rejoin = False  # as soon as the callbacks that are due have run
        self._leaving = False
        self._closed = False
        self._broken: int | None = None
        self._line_until = 0.0
        process.on_stop = self._stopped
        process.on_kill = self._died

    # ── what the application calls, and what the coordinator tells ───────────────────────────────

    def subscribe(self, topics: list[str], **callbacks: Callable[[Any, list[TopicPartition]], None]) -> None:
        self._callbacks = callbacks
        self._leaving = False
        if self._by_heartbeats:  # makes its id up itself, and keeps it
            self._member = f"{self._process.name}-{self._broker.new_producer()}"
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
        heard = partial(self._heard_of, self._member, self._generation, code)
        self._agenda.after(self._dice.between(0.0, self._heartbeat_s), partial(self._process.background, heard))

    def joined(self, generation: int, partitions: list[int]) -> None:
        """`tests.simulation.group.Client`: the answers to ``JoinGroup`` and ``SyncGroup``."""
        if not self._answered:
            return
        synced = partial(self._synced, self._joins, generation, partitions)
        self._agenda.after(self._dice.short(), lambda: self._process.background(synced))

    @abstractmethod
    def _begin(self, places: list[TopicPartition]) -> None:
        """Reads these partitions from now on: from their offsets, or from the committed ones."""

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

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
            self._disowned.difference_update(partitions)
            self._rejoin = True
        if self._leaving:
            self._leave()
        elif self._lost:
            self._lose()
        elif self._rejoin and not self._ops:
            self._rejoin = False
            self._heard(self._member, None)

    def _answer_what_waits(self) -> None:
        """The application has changed what it reads. librdkafka takes that for the answer to a revocation that waits to
        be polled, under cooperative-sticky (seen with 2.16: ``rd_kafka_cgrp_incremental_unassign``)."""
        waiting = [one for op, value in self._ops if op == "revoke" for one in value]
        if waiting and not self._serving and not self._by_heartbeats:
            self._disowned.update(waiting)
            self._join_soon()

    def _call(self, name: str, partitions: list[int]) -> None:
        self._callbacks[name](self, [TopicPartition(self._topic, partition) for partition in partitions])

    def _leave(self) -> None:
        if self._member:
            member = self._member
            self._agenda.after(self._in_line(self._dice.short()), lambda: self._broker.group.leave(member))
        self._member, self._generation, self._rejoin = "", -1, False

    def _in_line(self, delay_s: float) -> float:
        """Requests to the coordinator go over one connection: none overtakes an earlier one."""
        self._line_until = max(self._line_until, self._agenda.now + delay_s)
        return self._line_until - self._agenda.now

    def _join_soon(self) -> None:
        if self._in_transit:
            self._rejoin = True
        elif not self._joining and not self._closed:
            self._joining = True
            delay = self._in_line(self._dice.between(0.001, 0.05))
            self._agenda.after(delay, lambda: self._process.background(self._join))

    def _join(self) -> None:
        self._joining = False
        if self._closed or self._broken or self._leaving:
            return
        self._joins += 1
        owned = [] if self._eager else [one for one in self._positions if one not in self._disowned]
        group = self._broker.group
        try:
            if isinstance(group, HeartbeatCoordinator):
                self._heartbeat(group, owned)
            else:
                self._member = group.join(self._member, self._instance, self, owned, self._given_in)
                self._broker.seat(self._instance, self._process)
        except Refused as refused:
            self._in_transit = False
            if refused.code == KafkaError.UNKNOWN_MEMBER_ID and not self._by_heartbeats:
                # The group has forgotten this member. It joins as a new one, and the application is not told:
                # under cooperative-sticky it still holds what the old one was given (seen with 2.16).
                self._member, self._generation = "", -1
                self._join_soon()
            else:
                self._heard(self._member, refused.code)
            return
        self._dice.tell(self._process.name, "joins as {}, holding {}", self._member, owned)
        if self._by_heartbeats:
            return
        asked = self._broker.group.generation
        self._agenda.after(self._rebalance_s, lambda: self._give_up_waiting(asked))

    def _give_up_waiting(self, asked: int) -> None:
        if self._broker.group.generation == asked:
            self._broker.group.give_up_waiting()

    def _heard_of(self, member: str, generation: int, code: int | None) -> None:
        if code is None or not self._by_heartbeats or generation == self._generation:
            self._heard(member, code)

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
            self._member, self._generation = (self._member, 0) if self._by_heartbeats else ("", -1)
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

    def _synced(self, joins: int, generation: int, partitions: list[int]) -> None:
        if self._closed or self._broken or self._leaving or not self._member:
            return
        if self._by_heartbeats:
            self._reconcile(generation, partitions)
            return
        if self._joining or joins != self._joins:
            return  # with the next rebalance under way already, SyncGroup is answered with REBALANCE_IN_PROGRESS
        self._generation = self._given_in = generation
        if self._eager:
            self._push("assign", partitions)
            return
        gone = [partition for partition in self._positions if partition not in partitions]
        new = [partition for partition in partitions if partition not in self._positions]
        if gone:
            self._push("revoke", gone)
        if new or not gone:
            self._push("assign", new)

    def _heartbeat(self, group: HeartbeatCoordinator, owned: list[int]) -> None:
        """Sends one of the consumer protocol, whose answer may be lost: then it comes with its old epoch again."""
        self._in_transit = True
        fate = self._dice.fate("heartbeat", 1.0)
        self._answered = fate is None or fate.kind not in ("lost", "unanswered", "late")
        if self._answered or (fate is not None and fate.done_s is not None):
            group.join(self._member, self._instance, self, owned, max(0, self._generation))
        if not self._answered:
            again = partial(self._process.background, self._heartbeat_again)
            self._agenda.after(self._dice.between(0.3, 5.0), again)

    def _heartbeat_again(self) -> None:
        self._in_transit = False
        self._join_soon()

    def _reconcile(self, epoch: int, partitions: list[int]) -> None:
        """What the answer to a heartbeat says it is to have; the next one that it sends says that it is done.

        Without a change nothing is told, not even to a member that gets nothing at first (seen with 2.16).
        """
        self._in_transit = False
        self._generation = epoch
        if self._ops or self._serving:
            self._rejoin = True  # a change is under way: the target is asked for again after that
            return
        gone = [partition for partition in self._positions if partition not in partitions]
        new = [partition for partition in partitions if partition not in self._positions]
        if gone:
            self._push("revoke", gone)
        if new:
            self._push("assign", new)
        if self._rejoin and not gone:
            self._rejoin = False
            self._join_soon()

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
            heard = partial(self._heard_of, member, self._generation, KafkaError.UNKNOWN_MEMBER_ID)
            self._agenda.after(0.0, lambda: self._process.background(heard))

    def _preempt(self, *, rarely: bool = True) -> None:
        """Between any two calls other threads may get their turn, and the process may be stopped or killed."""
        fate = self._dice.hiccup(rarely=rarely)
        if fate is not None:
            self._process.hiccup(*fate)
