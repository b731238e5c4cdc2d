"""The thread that turns: it tells the core what happened and does what the core says.

`StreamLoop.run` is a loop over `StreamLoop.tick`, which a test may call by itself. The consumer, the
producer and the core belong to this one thread; finished work reaches it through a queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from typing import Protocol

from consumer.breaker import Breaker
from consumer.errors import FatalError
from consumer.failures import RecentFailures
from consumer.health import Health
from consumer.logs import Repeats
from consumer.metrics import Metrics
from consumer.records import Outcome, Record
from consumer.status import StreamStatus
from consumer.stream.core import StreamCore
from consumer.stream.exactly_once import HANGING_BUDGET_S, TEND_EVERY_S
from consumer.stream.ledger import Entry
from consumer.stream.placement import ASK_S
from consumer.stream.probing import Probing
from consumer.stream.protocol import Action, Claim, Halt, Pause, Publish, Resolve, Result, Resume, Submit
from consumer.stream.publisher import Publisher
from consumer.stream.questions import Ask
from consumer.stream.report import REPORT_EVERY_S, Describe, Reporter
from consumer.stream.silent import Silent
from consumer.stream.source import Source
from consumer.stream.unanswered import Unanswered

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.1
"""Longest wait for a record while nothing is in flight; a record ends it at once."""

BUSY_WAIT_S = 0.005
"""Longest wait for finished work before the topic is looked at again: what a new event may wait for the
loop while others are in flight. 200 turns a second cost about 1 % of a core."""

PUBLISH_BUDGET_S = 8.0
"""What one publication may take; far less than ``max.poll.interval.ms``, since nothing is polled meanwhile."""

LONGEST_TURN_S = 2 * (ASK_S + PUBLISH_BUDGET_S) + TEND_EVERY_S + HANGING_BUDGET_S + 1.0
"""What one turn may rightly take where brokers do not answer: where to begin and whether that is there; a new producer,
and what is committed; once more a producer; the end of transactions that hang."""

REVOKE_BUDGET_S = 0.5
"""What a revocation may wait for work in flight: the whole group waits with it, and what is not finished
costs its next owner a second fetch, no more."""

START_BUDGET_S = 20.0
"""What registering the transactional id may take: a predecessor's transaction is ended first. Less than the
default DRAIN_S, since nothing looks at a stop meanwhile."""

LAST_BUDGET_S = 0.5
"""The least that a publication gets at the end of DRAIN_S: on healthy brokers it takes some 10 ms."""


class Work(Protocol):
    """Who works on records."""

    def submit(self, record: Record) -> Future[Outcome]:
        """Begins to work on a record; must not block. The future can be cancelled until the work has begun."""


Finished = tuple[Claim, Future[Outcome]]


class Inbox(Protocol):
    """Where finished work waits for the loop; the rest of `queue.SimpleQueue` is not needed.

    Waiting here is the loop's one wait besides the clients' calls, so a simulation brings its own.
    """

    def put(self, item: Finished, /) -> None:
        """From any thread."""

    def get(self, *, timeout: float) -> Finished:
        """The oldest, waiting up to ``timeout`` seconds for one; raises `queue.Empty`."""

    def get_nowait(self) -> Finished:
        """The oldest; raises `queue.Empty`."""


class StreamLoop:
    """Joins the group, and turns until asked to stop.

    Args:
        topic: the input topic, for the log and the metrics.
        drain_s: after `stop`, how long work in flight may take.
        breaker: tells failures of ours from the events' own.
        failures: keeps the last ones and logs them.
        describe: names an event, for the log and the status page.
        ask: begins to find out whether the host of a URL can be reached: an exception of the future says why not.
            Null: none can.
        report_every_s: how often gauges and the status page are made new.
        clock: monotonic seconds.
        now: seconds since the epoch.
        inbox: where finished work waits; a queue if null.
        joining: called right before the group is joined: before it, nobody minds how this process ends.
        stood_still_s: for how long this process stood still since it was asked last.
    """

    def __init__(
        self,
        core: StreamCore,
        source: Source,
        publisher: Publisher,
        work: Work,
        *,
        topic: str,
        drain_s: float,
        metrics: Metrics,
        health: Health,
        breaker: Breaker | None = None,
        failures: RecentFailures | None = None,
        describe: Describe | None = None,
        ask: Ask | None = None,
        report_every_s: float = REPORT_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        inbox: Inbox | None = None,
        joining: Callable[[], object] = lambda: None,
        stood_still_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._core = core
        self._source = source
        self._publisher = publisher
        self._work = work
        self._topic = topic
        self._drain_s = drain_s
        self._health = health
        self._clock = clock
        self._failures = failures or RecentFailures(clock)
        self._probing = Probing(breaker or Breaker(), core, health, self._failures, ask)
        self._reporter = Reporter(
            core,
            source,
            topic=topic,
            metrics=metrics,
            failures=self._failures,
            silent=Silent(source, health, topic, clock),
            describe=describe,
            every_s=report_every_s,
            clock=clock,
            now=now,
        )
        self._finished: Inbox = SimpleQueue() if inbox is None else inbox
        self._joining = joining
        self._stood_still_s = stood_still_s
        self._running: dict[Claim, Future[Outcome]] = {}
        self._stop = Event()
        self._stopped_at = 0.0
        self._over = False
        self._drain_until: float | None = None
        self._outside = True  # of the group
        self._troubles = Repeats(log)
        self._unanswered = Unanswered(health)

    @property
    def status(self) -> StreamStatus | None:
        """The last report, at most a second old while the loop turns; any thread may read it."""
        return self._reporter.latest

    def stop(self) -> None:
        """Asks the loop to end: from any thread, any number of times; ``drain_s`` counts from the first."""
        if not self._stop.is_set():
            self._stopped_at = self._clock()
            self._stop.set()

    def run(self) -> None:
        """Turns until `stop`; then drains, commits, and leaves the group.

        Raises:
            ServiceError: it cannot go on.
        """
        try:
            self._publisher.start(START_BUDGET_S)
            self._joining()
            self._source.subscribe(self)
            self._stand_outside("the group is not joined yet")
            self._health.running()
            while not self._drained():
                self.tick()
        finally:
            self._over = True
            self._publisher.close(1.0)
            self._source.close()

    def tick(self) -> None:
        """One turn: finished work in, records in, actions out."""
        self._beat()
        if self._stop.is_set() and self._drain_until is None:
            self._begin_to_drain()
        now = self._clock()
        due = self._core.due(now)
        wait = min(IDLE_WAIT_S, due)
        if self._core.in_flight:
            # While nothing may be published, what finishes wakes nobody: only a record does.
            wait = min(IDLE_WAIT_S, self._core.pause_s(now))
            self._take_finished(0.0 if wait else min(BUSY_WAIT_S, due))
        records = self._source.poll(max(1, self._core.room), wait)
        if self._outside and self._source.joined():  # with more members than partitions one holds none, and is ready
            self._outside = False
            self._health.release("group")
        now = self._clock()
        self._core.received(records, now)
        self._probing.ask(now)
        self._probing.settle(now)
        budget_s = PUBLISH_BUDGET_S
        if self._drain_until is not None:
            budget_s = min(budget_s, max(LAST_BUDGET_S, self._drain_until - now))
        self._do(self._core.actions(now), budget_s)
        self._do(self._probing.probes(now), budget_s)
        self._publisher.tend()
        self._unanswered.look(now, waiting=self._core.unpublished, in_vain=self._source.in_vain())
        self._reporter.report(now)
        if self._reporter.silent and self._drain_until is None:
            self._publisher.abort_hanging()

    # ── the listener of assignments, called inside `Source.poll` and `Source.close` ─────────────

    def assigned(self, partitions: list[int]) -> None:
        """These partitions are ours from now on."""
        log.info("assigned partitions %s of %s", sorted(partitions), self._topic)
        self._core.assigned(partitions)
        self._reporter.rebalanced()

    def revoked(self, partitions: list[int]) -> None:
        """The last chance to commit: finish and publish what fits the budget, then hand over."""
        if self._over:  # what is not published by now is its next owner's; the producer is closed
            self._core.revoked(partitions)
            return
        deadline = self._clock() + REVOKE_BUDGET_S
        self._core.revoking(partitions)
        self._probing.put_back(partitions)
        self._take_back(claim for claim in list(self._running) if claim.partition in partitions)
        while self._core.busy(partitions) and (now := self._clock()) < deadline:
            self._beat()
            self._do(self._core.actions(now), deadline - now)
            self._take_finished(min(BUSY_WAIT_S, deadline - now))
        self._drop(self._core.revoked(partitions))
        log.info("gave up partitions %s of %s", sorted(partitions), self._topic)
        self._reporter.rebalanced()

    def lost(self, partitions: list[int]) -> None:
        """They belong to somebody else already: drop, commit nothing."""
        self._probing.put_back(partitions)
        self._drop(self._core.revoked(partitions))
        log.warning("lost partitions %s of %s: the group went on without this member", sorted(partitions), self._topic)
        self._stand_outside("this member fell out of the group and joins it again")
        self._reporter.rebalanced()

    def _beat(self) -> None:
        """What failed and is doubted does not stand still: it waits on purpose."""
        self._health.beat(self._core.in_flight - self._probing.doubted)

    def _stand_outside(self, why: str) -> None:
        self._outside = True
        self._health.hold("group", why)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────

    def _do(self, actions: Iterable[Action], budget_s: float) -> None:
        for action in actions:
            match action:
                case Submit(claim, record):
                    future = self._work.submit(record)
                    self._running[claim] = future
                    future.add_done_callback(partial(self._note_finished, claim))
                case Pause(partitions):
                    self._source.pause(partitions)
                case Resume(partitions):
                    self._source.resume(partitions)
                case Publish():
                    self._publish(action, budget_s)
                case Resolve(partitions):
                    ready = self._publisher.replace(budget_s)
                    committed = self._source.committed(partitions, budget_s) if ready else None
                    self._released(self._core.resolved(committed, self._clock()))
                case Halt(reason):
                    raise FatalError(reason)

    def _publish(self, publication: Publish, budget_s: float) -> None:
        began = self._clock()
        answer = self._publisher.publish(publication, budget_s)
        ended = self._clock()
        self._reporter.published(answer.result, ended - began)
        if answer.result is Result.COMMITTED:
            self._troubles.over()
        else:
            self._unanswered.failed(answer.reason)
            kind = (answer.result, bool(answer.rejected))
            self._troubles.warning(kind, "%d outcomes were not published: %s", len(publication.claims), answer.reason)
        self._released(self._core.published(answer, ended))

    def _released(self, entries: list[Entry]) -> None:
        if entries:
            self._unanswered.committed()
        self._reporter.released(entries)

    # ── finished work ────────────────────────────────────────────────────────────────────────────

    def _note_finished(self, claim: Claim, future: Future[Outcome]) -> None:
        """Called on the thread that finished the work."""
        if not future.cancelled():
            self._finished.put((claim, future))

    def _take_finished(self, wait_s: float) -> None:
        """Hands everything that has finished to the core, waiting for the first."""
        try:
            claim, future = self._finished.get(timeout=wait_s)
            while True:
                if stood_s := self._stood_still_s():
                    self._probing.stood_still(stood_s)
                if self._running.pop(claim, None) is not None:  # else its partition was taken away
                    self._probing.finished(claim, future.result(), self._clock())
                    self._health.progressed()
                claim, future = self._finished.get_nowait()
        except Empty:
            return

    def _take_back(self, claims: Iterable[Claim]) -> None:
        """Takes back the work that has not begun: waiting for its turn would take long, and costs its next owner
        nothing. (Thousands may wait for one slow host.)"""
        for claim in claims:
            if self._running[claim].cancel():
                del self._running[claim]
                self._core.put_back(claim)

    def _drop(self, claims: Iterable[Claim]) -> None:
        """Spares the fetches of work that nobody waits for any more."""
        for claim in claims:
            future = self._running.pop(claim, None)
            if future is not None:
                future.cancel()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _begin_to_drain(self) -> None:
        self._core.stop()
        self._probing.stop()
        self._take_back(list(self._running))
        self._drain_until = self._stopped_at + self._drain_s
        log.info("stopping: %d events in flight have up to %g s to finish", self._core.in_flight, self._drain_s)

    def _drained(self) -> bool:
        if self._drain_until is None:
            return False
        if self._core.busy() and self._clock() < self._drain_until:
            return False
        left, finished = self._core.in_flight, self._core.unpublished
        if left:
            log.warning("%d events did not finish in time: whoever has their partitions next begins them anew", left)
        if finished:
            log.warning("finished outcomes could not be published in time: their events are begun anew, too")
        self._drop(list(self._running))
        return True
