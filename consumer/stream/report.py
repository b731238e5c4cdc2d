"""What the stream tells about itself: metrics, the status page, and who holds a partition up.

Counted as it happens, reported once a second. All of it runs on the stream's thread; others read `Reporter.latest`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping

from consumer.failures import RecentFailures
from consumer.metrics import Metrics
from consumer.records import Record
from consumer.status import HeldUp, PartitionStatus, StreamStatus
from consumer.stream.core import StreamCore
from consumer.stream.ledger import Entry, Ledger
from consumer.stream.protocol import Result
from consumer.stream.silent import Silent
from consumer.stream.source import Source

log = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0
"""How often gauges and the status page are made new."""

HELD_LOG_AFTER_S = 30.0
"""A partition that one event holds up for so long is named in the log, as often as this."""

DESCRIBED_AFTER_S = 1.0
"""An event that holds its partition up for so long is read once more, for its id and URL."""

Describe = Callable[[Record], tuple[str, str] | None]
"""An event's id and masked URL; null if it cannot be read."""


class LastMinute:
    """Counts by name over the last 60 seconds, in steps of one."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Counter[str]]] = deque()

    def add(self, name: str, now: float) -> None:
        """One more."""
        if not self._seconds or self._seconds[-1][0] != int(now):
            self._seconds.append((int(now), Counter()))
            self._trim(now)
        self._seconds[-1][1][name] += 1

    def counts(self, now: float) -> Counter[str]:
        """How many of each."""
        self._trim(now)
        total: Counter[str] = Counter()
        for _, counts in self._seconds:
            total.update(counts)
        return total

    def _trim(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= int(now) - 60:
            self._seconds.popleft()


class Reporter:
    """Keeps the counts and makes the reports.

    Args:
        topic: the input topic, for the log and the metrics.
        describe: names an event for the log and the status page; without it only offsets are named.
        failures: is asked to tell what it has not told yet.
        silent: is asked which partitions do not begin.
        every_s: how often gauges and the status page are made new.
        clock: monotonic seconds.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        core: StreamCore,
        source: Source,
        *,
        topic: str,
        metrics: Metrics,
        failures: RecentFailures,
        silent: Silent,
        describe: Describe | None = None,
        every_s: float = REPORT_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._core = core
        self._source = source
        self._topic = topic
        self._metrics = metrics
        self._failures = failures
        self._silent = silent
        self._describe = describe
        self._every_s = every_s
        self._clock = clock
        self._now = now
        self._due_at = 0.0
        self._held_logged_at = 0.0
        self._events: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._transactions: Counter[str] = Counter()
        self._minute = LastMinute()
        self._names: dict[tuple[int, int], tuple[str, str] | None] = {}
        self.silent: Collection[int] = ()
        """The partitions that do not begin, by the last report."""
        self.latest: StreamStatus | None = None
        """The last report; any thread may read it."""

    # ── what happens ─────────────────────────────────────────────────────────────────────────────

    def rebalanced(self) -> None:
        """Partitions came or went."""
        self._metrics.rebalances.inc()
        self._due_at = 0.0

    def published(self, result: Result, seconds: float) -> None:
        """A publication was answered after so long."""
        told = "aborted" if result is Result.FENCED else result.value
        self._metrics.observe_stage("publish", seconds)
        self._metrics.transactions.labels(told).inc()
        self._transactions[told] += 1

    def released(self, entries: Iterable[Entry]) -> None:
        """The outcomes of these events are committed."""
        clock, now = self._clock(), self._now()
        for entry in entries:
            outcome = entry.outcome
            assert outcome is not None
            self._metrics.count(outcome.kind, outcome.code)
            self._events[outcome.kind] += 1
            self._minute.add(outcome.code or outcome.kind, clock)
            if outcome.code is not None:
                self._codes[outcome.code] += 1
            if entry.timestamp_ms >= 0:
                self._metrics.event_seconds.observe(max(0.0, now - entry.timestamp_ms / 1000))

    def report(self, now: float) -> None:
        """Makes a report if it is time for one; ``now`` is monotonic."""
        if now < self._due_at:
            return
        self._due_at = now + self._every_s
        self._failures.tell()
        ledgers = self._core.ledgers
        holders = {ledger.partition: entry for ledger in ledgers if (entry := ledger.holder())}
        lags = {ledger.partition: self._source.lag(ledger.partition, ledger.next_offset) for ledger in ledgers}
        self._describe_anew(holders, now)
        self._metrics.in_flight.set(self._core.in_flight)
        self._metrics.assigned_partitions.set(len(ledgers))
        self._metrics.set_lags({(self._topic, p): lag for p, lag in lags.items() if lag is not None})
        self._metrics.set_held_since(min((entry.arrived for entry in holders.values()), default=None))
        self._log_the_longest(holders, now)
        self.silent = self._silent.look(now)
        self.latest = self._status(ledgers, lags, holders, self.silent, now)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _describe_anew(self, holders: Mapping[int, Entry], now: float) -> None:
        """Reads an event once, not each second: it may have a megabyte."""
        known, self._names = self._names, {}
        for partition, entry in holders.items():
            place = (partition, entry.offset)
            if place in known:
                self._names[place] = known[place]
            elif self._describe and entry.record and now - entry.arrived > DESCRIBED_AFTER_S:
                self._names[place] = self._describe(entry.record)

    def _log_the_longest(self, holders: Mapping[int, Entry], now: float) -> None:
        partition, entry = min(holders.items(), key=lambda one: one[1].arrived, default=(0, None))
        if entry is None or now - max(entry.arrived, self._held_logged_at) <= HELD_LOG_AFTER_S:
            return
        self._held_logged_at = now
        name = self._names.get((partition, entry.offset))
        log.warning(
            "partition %d of %s is held up for %.0f s by the event at offset %d%s, which is %s",
            partition,
            self._topic,
            now - entry.arrived,
            entry.offset,
            f" ({name[0]}, {name[1]})" if name else "",
            entry.stand.value,
        )

    def _status(
        self,
        ledgers: Iterable[Ledger],
        lags: Mapping[int, int | None],
        holders: Mapping[int, Entry],
        silent: Collection[int],
        now: float,
    ) -> StreamStatus:
        at = self._now()

        def held_up(partition: int) -> HeldUp | None:
            entry = holders.get(partition)
            if entry is None:
                return None
            name = self._names.get((partition, entry.offset)) or (None, None)
            return HeldUp(entry.offset, entry.stand.value, round(1000 * (at - now + entry.arrived)), *name)

        partitions = tuple(
            PartitionStatus(
                partition=one.partition,
                lag=lags[one.partition],
                committed=one.committed,
                queued=one.queued,
                in_flight=one.in_flight,
                finished=len(one) - one.queued - one.in_flight,
                held_up=held_up(one.partition),
                silent=one.partition in silent,
            )
            for one in ledgers
        )
        minute = self._minute.counts(now)
        return StreamStatus(
            at=round(1000 * at),
            queued=sum(one.queued for one in partitions),
            in_flight=self._core.in_flight,
            finished=sum(one.finished for one in partitions),
            held_bytes=sum(ledger.bytes for ledger in ledgers),
            partitions=partitions,
            transactions=dict(self._transactions),
            events=dict(self._events),
            failures=dict(self._codes),
            events_last_minute=minute.total(),
            failures_last_minute={code: count for code, count in minute.items() if code in self._codes},
        )
