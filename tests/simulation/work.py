"""Fetching and predicting as the simulation has it: any time, in any order, sometimes failing."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from functools import partial
from queue import Empty

from consumer.records import Message, Outcome, Record
from consumer.stream.loop import Finished
from tests.simulation.agenda import Agenda
from tests.simulation.dice import Dice
from tests.simulation.process import Process

INPUT, OUTPUT, DEAD_LETTERS = "in", "out", "dead"


class SimulatedWork:
    """What `consumer.worker.Worker` is to the loop. The event's value says what is to become of it."""

    def __init__(self, process: Process, agenda: Agenda, dice: Dice, longest_s: float) -> None:
        self._process = process
        self._agenda = agenda
        self._dice = dice
        self._longest_s = longest_s

    def submit(self, record: Record) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        if record.value == b"unreadable":
            future.set_result(self._outcome(record))
        else:
            delay = self._longest_s * self._dice.random.random() ** 3  # most are quick, a few take long
            self._agenda.after(delay, lambda: self._process.background(partial(self._finish, future, record)))
        return future

    def _finish(self, future: Future[Outcome], record: Record) -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(self._outcome(record))

    def _outcome(self, record: Record) -> Outcome:
        name = b"%d-%d" % (record.partition, record.offset)
        letter = Message(DEAD_LETTERS, record.key, name, (), record.partition)
        failed = Message(OUTPUT, record.key, name + b" failed", (), record.partition)
        match record.value:
            case b"unreadable":
                return Outcome("unreadable", (letter,), "event_unreadable")
            case b"bad":
                return Outcome("failed", (failed, letter), "http_status")
            case b"flaky" if self._dice.chance(0.5):
                return Outcome("failed", (failed, letter), "fetch_timeout")
            case b"large" | b"huge" as size:
                # "huge" is refused by the producer itself, "large" by the broker.
                large = Message(
                    OUTPUT, record.key, name.ljust(20_000 if size == b"huge" else 7_000), (), record.partition
                )
                return Outcome("predicted", (large,), reduced=lambda: Outcome("failed", (failed, letter), "too_large"))
        return Outcome("predicted", (Message(OUTPUT, record.key, name + b" good", (), record.partition),))


class SimulatedInbox:
    """Where finished work waits; see `consumer.stream.loop.Inbox`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._finished: deque[Finished] = deque()

    def put(self, item: Finished, /) -> None:
        self._finished.append(item)
        self._process.wake()

    def get(self, *, timeout: float) -> Finished:
        if not self._finished and timeout > 0:
            self._process.wait(timeout, idle=True)
        return self.get_nowait()

    def get_nowait(self) -> Finished:
        if not self._finished:
            raise Empty
        return self._finished.popleft()
