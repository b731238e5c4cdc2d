"""What comes as often as events is logged sparingly, and what is left out is counted."""

from __future__ import annotations

import logging

import pytest

from consumer.logs.sparing import LINES, WINDOW_S, Sparing
from tests.clock import Clock

log = logging.getLogger("sparing")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sparing(clock: Clock, caplog: pytest.LogCaptureFixture) -> Sparing:
    caplog.set_level(logging.INFO)
    return Sparing(log, "mishaps", clock)


def test_ten_lines_in_ten_seconds_and_the_others_counted_by_kind(
    sparing: Sparing, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(LINES + 5):
        sparing.log(logging.INFO, "odd" if number % 2 else "even", "number %d", number)
    sparing.tell()
    assert len(caplog.records) == LINES
    clock.now = WINDOW_S
    sparing.log(logging.ERROR, "late", "the next")
    assert [one.getMessage() for one in caplog.records[LINES:]] == [
        "5 more mishaps within 10 s: 3 even, 2 odd",
        "the next",
    ]


def test_the_window_begins_with_its_first_line(
    sparing: Sparing, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.now = 9.0
    for _ in range(LINES + 1):
        sparing.log(logging.INFO, "x", "told")
    clock.now = 18.0
    sparing.tell()
    assert len(caplog.records) == LINES
    clock.now = 19.0
    sparing.tell()
    sparing.tell()
    assert len(caplog.records) == LINES + 1


def test_a_stack_trace_is_told_with_its_line(sparing: Sparing, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("it is so")
    sparing.log(logging.ERROR, "ValueError", "failed", exc_info=error)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
