"""The last failures: kept, bounded, without secrets, and not more in the log than a disk can take."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from consumer.errors import ConnectFailed, HttpStatus, ModelFailed
from consumer.events import Failure
from consumer.failures import MOST, SHORT, FailedEvent, RecentFailures
from consumer.logs.sparing import LINES, WINDOW_S
from tests.clock import Clock

FAILURE = Failure.of(HttpStatus(404))


def of_topic(offset: int, failure: Failure = FAILURE) -> FailedEvent:
    return FailedEvent.of(failure, 1000 + offset, url="http://a/x.jpg", event_id="42", partition=3, offset=offset)


def test_the_last_two_hundred_are_kept_the_newest_first() -> None:
    recent = RecentFailures()
    for offset in range(500):
        recent.note(of_topic(offset))
    assert MOST == 200
    assert [one.offset for one in recent.last()] == list(range(499, 299, -1))


def test_callers_over_http_do_not_push_the_topics_failures_out() -> None:
    recent = RecentFailures()
    recent.note(of_topic(1))
    for _ in range(1000):
        recent.note(FailedEvent.of(FAILURE, 5000, url="http://a/"))
    assert sum(not one.over_http for one in recent.last()) == 1
    assert sum(one.over_http for one in recent.last()) == MOST


def test_what_is_kept_is_bounded_printable_and_without_secrets() -> None:
    long = "\x1b[31m\u2028" + "x" * 10_000
    failed = FailedEvent.of(
        Failure("http_status", long, False, 1, "fetch", "x"),
        1,
        url="https://user:password@a/" + "y" * 10_000 + "?token=secret",
        event_id=long,
        partition=1,
        offset=1,
    )
    for text in (failed.message, failed.url, failed.event_id):
        assert text is not None
        assert len(text) <= SHORT
        assert text.isprintable()
    assert "password" not in str(failed)
    assert "secret" not in str(FailedEvent.of(FAILURE, 1, url="https://a/?token=secret"))
    assert sum(map(sys.getsizeof, (failed, failed.message, failed.url, failed.event_id))) < 3000


def test_a_failure_is_one_line_that_tells_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recent = RecentFailures()
    recent.note(of_topic(7))
    recent.note(FailedEvent.of(Failure.of(ConnectFailed("no connection", attempts=3)), 1, url="http://b/?k=v"))
    recent.note(FailedEvent.of(Failure.of(ModelFailed("it is broken")), 1, partition=1, offset=2))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "failure of 3-7: http_status: the server answered with status 404 (http://a/x.jpg)"),
        ("WARNING", "failure over HTTP: connect_failed: no connection (http://b/?k=***, 3 attempts)"),
        ("WARNING", "failure of 1-2: model_failed: it is broken (no URL)"),
    ]


def test_a_poured_topic_does_not_fill_the_disk_and_what_had_no_line_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    recent = RecentFailures(clock)
    for offset in range(10_000):
        clock.now += 0.01  # a hundred a second
        recent.note(of_topic(offset))
    clock.now += WINDOW_S
    recent.tell()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) <= 11 * (100 / WINDOW_S + 1)
    counted = sum(int(line.split()[0]) for line in lines if "more failures" in line)
    assert counted + sum("failure of" in line for line in lines) == 10_000
    assert lines[-1].endswith(" http_status")


def test_a_few_failures_now_and_then_have_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    recent = RecentFailures(clock)
    for offset in range(10 * LINES):
        clock.now += WINDOW_S / LINES + 0.01
        recent.note(of_topic(offset))
        recent.tell()
    assert len(caplog.records) == 10 * LINES


def test_many_threads_may_note_at_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    recent = RecentFailures(clock)
    caplog.set_level(logging.INFO)

    def note() -> None:
        for offset in range(500):
            recent.note(of_topic(offset))

    threads = [threading.Thread(target=note) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now = 2 * WINDOW_S
    recent.tell()
    assert (
        caplog.records[-1].getMessage() == f"{8 * 500 - LINES} more failures within 10 s: {8 * 500 - LINES} http_status"
    )
    assert len(recent.last()) == MOST
