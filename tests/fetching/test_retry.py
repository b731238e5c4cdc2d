"""When to try again, and what a server may say about it."""

from __future__ import annotations

import pytest

from consumer.errors import ConnectFailed, HttpStatus, TlsFailed
from consumer.fetching.retry import BASE_S, CAP_S, LONGEST_DATE, Retries, retry_after_s
from consumer.fetching.wishes import RETRY_AFTER_CAP_S

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:49:07 GMT", 0.0),  # it is over
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),  # a digit, but none of HTTP's
        ("1" * 10, None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Sun, 06 Nov 1994 08:50:37 GMT" + " " * LONGEST_DATE, None),
    ],
)
def test_a_wish_for_time_is_read_as_seconds_or_not_at_all(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, lambda: NOW) == seconds


def test_pauses_grow_from_attempt_to_attempt_up_to_the_cap() -> None:
    retries = Retries(10, draw=lambda _, high: high)
    pauses = [retries.pause_s(ConnectFailed("no"), attempt, 100.0) for attempt in range(1, 8)]
    assert pauses == [2 * BASE_S, 4 * BASE_S, 8 * BASE_S, 16 * BASE_S, CAP_S, CAP_S, CAP_S]


def test_a_pause_is_drawn_from_nothing_up() -> None:
    assert Retries(3, draw=lambda low, _: low).pause_s(ConnectFailed("no"), 1, 100.0) == 0.0


def test_nothing_is_tried_again_that_cannot_get_better_or_has_no_time_left() -> None:
    retries = Retries(2, draw=lambda _, high: high)
    assert retries.pause_s(TlsFailed("no"), 1, 100.0) is None
    assert retries.pause_s(ConnectFailed("no"), 2, 100.0) is None
    assert retries.pause_s(ConnectFailed("no"), 1, 2 * BASE_S) is None
    assert retries.pause_s(HttpStatus(429, retry_after_s=RETRY_AFTER_CAP_S + 1), 1, 100.0) is None
    assert retries.pause_s(HttpStatus(429, retry_after_s=RETRY_AFTER_CAP_S), 1, 100.0) == RETRY_AFTER_CAP_S
