"""Fetching and predicting as the simulation has it: any time, in any order, sometimes failing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty

from consumer.errors import ConnectFailed
from consumer.evidence import evidence
from consumer.records import Headers, Message, Outcome, Record
from consumer.stream.loop import Finished
from tests.simulation.agenda import Agenda
from tests.simulation.dice import Dice
from tests.simulation.outage import Failure, Outages, Patience
from tests.simulation.process import Process

INPUT, OUTPUT, DEAD_LETTERS = "in", "out", "dead"

ATTEMPT = "attempt"
"""The header that names the work an outcome is of."""

MADE = "made"
"""The header of an event that says how often its topic had been made again."""

Place = tuple[int, int, int]
"""An event: how often its topic had been made again, its partition, its offset."""


def place_of(record: Record) -> Place:
    """What its outcome says that it is of."""
    return int(dict(record.headers)[MADE] or b""), record.partition, record.offset


@dataclass(slots=True)
class Attempt:
    """One piece of work. ``term`` is the assignment of its partition in which it was begun."""

    partition: int
    term: int | None
    failure: Failure | None = None
    published: bool = False


class SimulatedWork:
    """What `consumer.worker.Worker` is to the loop. The event's value says what is to become of it.

    Args:
        longest_s: what work takes at most.
        threads: how much of it is under way at the same time; the rest waits its turn. What is under way
            cannot be cancelled.
        terms: see `consumer.stream.source.Source.terms`.
        begun: told of each event that is begun.
        complain: told if the outcome of an earlier assignment is published.
    """

    def __init__(
        self,
        process: Process,
        agenda: Agenda,
        dice: Dice,
        *,
        longest_s: float,
        threads: int,
        outages: Outages,
        patience: Patience,
        terms: Callable[[], Mapping[int, int]],
        begun: Callable[[Place], None],
        complain: Callable[[str], None],
    ) -> None:
        self._process = process
        self._agenda = agenda
        self._dice = dice
        self._longest_s = longest_s
        self._threads = threads
        self._outages = outages
        self._patience = patience
        self._terms = terms
        self._begun = begun
        self._complain = complain
        self._attempts: list[Attempt] = []
        self._waiting: deque[tuple[Future[Outcome], Record, int]] = deque()
        self._under_way = 0

    def submit(self, record: Record) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        number = len(self._attempts)
        self._begun(place_of(record))
        self._attempts.append(Attempt(record.partition, self._terms().get(record.partition)))
        if record.value == b"unreadable":
            future.set_result(self._outcome(record, number))
        else:
            self._waiting.append((future, record, number))
            self._begin()
        return future

    def ask(self, url: str) -> Future[None]:
        """Whether the host of a URL can be reached: known after a while, by what is so then."""
        answer: Future[None] = Future()
        delay = self._longest_s * self._dice.random.random() ** 3
        self._agenda.after(delay, partial(self._process.background, partial(self._answer, answer, url)))
        return answer

    def produced(self, headers: Iterable[tuple[str, bytes | None]]) -> None:
        """An outcome, or a dead letter, is handed to a producer: may it be?"""
        for name, value in headers:
            if name != ATTEMPT:
                continue
            attempt = self._attempts[int(value or b"")]
            if attempt.term is None or self._terms().get(attempt.partition) != attempt.term:
                self._complain(
                    f"late: {self._process.name} publishes what it began in an earlier assignment of partition "
                    f"{attempt.partition}"
                )
            if attempt.failure is not None and not attempt.published:
                self._patience.published(attempt.failure)
            attempt.published = True

    def _begin(self) -> None:
        while self._waiting and self._under_way < self._threads:
            future, record, number = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            self._under_way += 1
            delay = self._longest_s * self._dice.random.random() ** 3  # most are quick, a few take long
            if self._outages.code(self._host(record), self._agenda.now) == "fetch_timeout":
                delay = self._longest_s
            done = partial(self._finish, future, record, number)
            self._agenda.after(delay, partial(self._process.background, done))

    def _finish(self, future: Future[Outcome], record: Record, number: int) -> None:
        self._under_way -= 1
        self._begin()
        future.set_result(self._outcome(record, number))

    def _outcome(self, record: Record, number: int) -> Outcome:
        host = self._host(record)
        code = self._outages.code(host, self._agenda.now)
        outcome = self._made(record, code, ((ATTEMPT, b"%d" % number),))
        told = evidence(f"http://host-{host}/", outcome.code, retriable=outcome.code == "dns_failed")
        self._attempts[number].failure = self._patience.worked_on(place_of(record), told, self._agenda.now)
        return replace(outcome, evidence=told)

    def _answer(self, answer: Future[None], url: str) -> None:
        place = url.removeprefix("http://").removesuffix("/")
        code = self._outages.code(int(place.removeprefix("host-")), self._agenda.now)
        reached = code in (None, "model_failed")
        self._patience.asked(place, reached, self._agenda.now)
        if reached:
            answer.set_result(None)
        else:
            answer.set_exception(ConnectFailed("it is down"))
        self._process.wake()

    def _host(self, record: Record) -> int:
        return self._outages.host(record.partition, record.offset)

    def _made(self, record: Record, code: str | None, headers: Headers) -> Outcome:
        name = b"%d-%d-%d" % place_of(record)

        def message(topic: str, value: bytes) -> Message:
            return Message(topic, record.key, value, headers, record.partition)

        letter = message(DEAD_LETTERS, name)
        if record.value == b"unreadable":
            return Outcome("unreadable", (letter,), "event_unreadable")
        failed = message(OUTPUT, name + b" failed")
        if code is None and record.value == b"bad":
            code = "http_status"
        if code is None and record.value == b"flaky" and self._dice.chance(0.5):
            code = "fetch_timeout"
        if code is not None:
            return Outcome("failed", (failed, letter), code)
        if record.value in (b"large", b"huge"):
            # "huge" is refused by the producer itself, "large" by the broker.
            large = message(OUTPUT, name.ljust(20_000 if record.value == b"huge" else 7_000))
            return Outcome("predicted", (large,), reduced=lambda: Outcome("failed", (failed, letter), "too_large"))
        return Outcome("predicted", (message(OUTPUT, name + b" good"),))


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
