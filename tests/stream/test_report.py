"""What the stream tells about itself."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from consumer.failures import RecentFailures
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.records import Record
from consumer.status import HeldUp, PartitionStatus, StreamStatus
from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.protocol import Claim, Publish, Published, Result, Submit
from consumer.stream.report import DESCRIBED_AFTER_S, HELD_LOG_AFTER_S, LastMinute, Reporter
from consumer.stream.silent import SILENT_S, Silent
from consumer.stream.source import Source
from tests.stream.factories import outcome, record


class Told:
    """A core with two partitions, its reporter, a clock, and how often an event was read for its name."""

    def __init__(self) -> None:
        self.now = 100.0
        self.read = 0
        self.silent: dict[int, bool] = {}
        self.metrics = Metrics(clock=lambda: self.now)
        self.core = StreamCore(Limits(in_flight=2))
        self.core.assigned([0, 1])
        self.reporter = Reporter(
            self.core,
            cast(Source, self),
            topic="in",
            metrics=self.metrics,
            failures=RecentFailures(lambda: self.now),
            silent=Silent(cast(Source, self), Health(60.0), "in", lambda: self.now),
            describe=self.describe,
            clock=lambda: self.now,
            now=lambda: 1_000_000 + self.now,
        )

    def unbegun(self) -> dict[int, bool]:
        return self.silent

    def lag(self, partition: int, next_offset: int | None) -> int | None:
        return None if partition == 1 else 50

    def describe(self, record: Record) -> tuple[str, str] | None:
        self.read += 1
        return f"event-{record.offset}", "http://a/x?k=***"

    def work(self, *offsets: int, partition: int = 0) -> list[Claim]:
        self.core.received([record(offset, partition) for offset in offsets], self.now)
        return [one.claim for one in self.core.actions(self.now) if isinstance(one, Submit)]

    def publish(self, claim: Claim) -> None:
        self.core.finished(claim, outcome())
        assert any(isinstance(one, Publish) for one in self.core.actions(self.now))
        self.reporter.released(self.core.published(Published(Result.COMMITTED), self.now))
        self.reporter.published(Result.COMMITTED, 0.01)

    def report(self, seconds: float = 0.0) -> StreamStatus:
        self.now += seconds
        self.reporter.report(self.now)
        assert self.reporter.latest is not None
        return self.reporter.latest


@pytest.fixture
def told() -> Told:
    return Told()


def test_it_tells_where_every_partition_stands(told: Told) -> None:
    first, second = told.work(10, 11, 12, 13, 14)
    told.publish(first)
    told.core.finished(second, outcome())
    told.core.actions(told.now)
    status = told.report()
    assert status.partitions == (
        PartitionStatus(0, 50, 11, 1, 2, 1, HeldUp(12, "in flight", 1_000_100_000)),
        PartitionStatus(1, None, None, 0, 0, 0, None),
    )
    assert (status.queued, status.in_flight, status.finished) == (1, 2, 1)
    assert (status.events, status.transactions, status.events_last_minute) == ({"predicted": 1}, {"committed": 1}, 1)


def test_a_partition_of_which_nothing_comes_is_marked_and_no_other(told: Told) -> None:
    told.silent = {1: False}
    assert [one.silent for one in told.report().partitions] == [False, False]
    assert [one.silent for one in told.report(SILENT_S + 1).partitions] == [False, True]


def test_the_event_that_holds_a_partition_up_is_read_once_for_its_name(told: Told) -> None:
    told.work(10)
    assert told.report().partitions[0].held_up == HeldUp(10, "in flight", 1_000_100_000)
    for _ in range(5):
        held = told.report(DESCRIBED_AFTER_S + 0.1).partitions[0].held_up
        assert held == HeldUp(10, "in flight", 1_000_100_000, "event-10", "http://a/x?k=***")
    assert told.read == 1


def test_a_partition_that_is_held_up_for_long_is_named_in_the_log_with_the_event(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    told.work(10)
    for _ in range(59):
        told.report(1)
    assert [one.getMessage() for one in caplog.records] == [
        "partition 0 of in is held up for 31 s by the event at offset 10 (event-10, http://a/x?k=***), "
        "which is in flight"
    ]
    told.report(HELD_LOG_AFTER_S)
    assert len(caplog.records) == 2
    assert told.metrics.registry.get_sample_value("image_consumer_watermark_age_seconds") == pytest.approx(89)


def test_it_reports_once_a_second_and_at_once_after_a_rebalance(told: Told) -> None:
    first = told.report()
    assert told.report(0.5) is first
    told.reporter.rebalanced()
    assert told.report() is not first


def test_failures_are_counted_by_code_over_all_time_and_the_last_minute(told: Told) -> None:
    for number in range(3):
        (claim,) = told.work(number)
        told.core.finished(claim, outcome(code="http_status"))
        told.core.actions(told.now)
        told.reporter.released(told.core.published(Published(Result.COMMITTED), told.now))
        told.now += 25
    status = told.report()
    assert status.failures == {"http_status": 3}
    assert status.failures_last_minute == {"http_status": 2}


def test_the_last_minute_forgets() -> None:
    minute = LastMinute()
    for second in range(200):
        minute.add("x", second + 0.5)
    assert minute.counts(199.9) == {"x": 60}
    assert minute.counts(229.9) == {"x": 30}
    assert not minute.counts(1000)


def test_a_status_is_made_of_values_that_nobody_changes_afterwards(told: Told) -> None:
    (claim,) = told.work(0)
    before = told.report()
    told.publish(claim)
    assert before.events == {}
