"""When to try again, and how long to wait before that."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from consumer.errors import FetchError, HttpStatus
from consumer.fetching.wishes import RETRY_AFTER_CAP_S

BASE_S = 0.1
CAP_S = 2.0
"""Pauses are drawn between 0 and ``min(CAP_S, BASE_S · 2^attempt)``: "full jitter", which spreads the
callers of a recovering server best (AWS Architecture Blog, "Exponential Backoff and Jitter")."""

LONGEST_DATE = 64
"""Characters of a Retry-After that are read; the longest form of an HTTP date (RFC 9110, 5.6.7) has 33, a header may
have 64 KiB, and the parser of `email` is made for all that stands in mails."""


class Retries:
    """Decides on the attempts at one image; a GET is idempotent, so its errors alone decide."""

    def __init__(self, attempts: int, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._attempts = attempts
        self._draw = draw

    def pause_s(self, error: FetchError, attempt: int, left_s: float) -> float | None:
        """How long to wait before the next attempt; null if there is none.

        Args:
            error: why the attempt failed.
            attempt: which one it was, from 1.
            left_s: what is left of the deadline; a pause never uses it up.
        """
        if not error.retriable or attempt >= self._attempts:
            return None
        pause = self._draw(0.0, min(CAP_S, BASE_S * 2**attempt))
        if isinstance(error, HttpStatus) and error.retry_after_s is not None:
            if error.retry_after_s > RETRY_AFTER_CAP_S:
                return None
            pause = max(pause, error.retry_after_s)
        return pause if pause < left_s else None


def retry_after_s(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """The Retry-After header (RFC 9110, 10.2.3) in seconds; null if there is none or it says nothing.

    Args:
        value: seconds as digits, or an HTTP date.
        now: seconds since the epoch.
    """
    if value is None or len(value) > LONGEST_DATE:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, OverflowError):
        return None
