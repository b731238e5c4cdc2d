"""The last failures: what failed, when and of what, for the log and for who is on call.

The metrics count failures by code; the outcome and the dead letter say everything of one event. This
is what lies between: enough of the last ones to see what is going on, with URLs masked, bounded in number
and size.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consumer.events import Failure
from consumer.logs.masking import mask_id, mask_url, printable
from consumer.logs.sparing import Sparing

log = logging.getLogger(__name__)

MOST: Final = 200
"""Failures that are kept of the topic, and as many of HTTP callers, who must not push those of the topic out."""

SHORT: Final = 200
"""Characters that are kept of a URL, a message and an event's id: with them a failure takes under 3 kB."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """One failure. ``at`` is in milliseconds since the epoch.

    ``url`` is masked, and null where none could be read; ``partition`` and ``offset`` are null, and
    ``event_id`` too, for what an HTTP caller asked.
    """

    at: int
    code: str
    message: str
    retriable: bool
    attempts: int
    url: str | None = None
    event_id: str | None = None
    partition: int | None = None
    offset: int | None = None

    @classmethod
    def of(
        cls,
        failure: Failure,
        at: int,
        *,
        url: str | None = None,
        event_id: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
    ) -> FailedEvent:
        """What is kept of a failure: texts cut, made printable, and free of what a URL may hide."""
        return cls(
            at=at,
            code=failure.code,
            message=printable(failure.message[:SHORT])[:SHORT],
            retriable=failure.retriable,
            attempts=failure.attempts,
            url=None if url is None else mask_url(url, SHORT),
            event_id=None if event_id is None else mask_id(event_id, SHORT),
            partition=partition,
            offset=offset,
        )

    @property
    def over_http(self) -> bool:
        """Whether a caller of ``/predict/`` asked, and not the topic."""
        return self.partition is None

    def __str__(self) -> str:
        place = "over HTTP" if self.over_http else f"of {self.partition}-{self.offset}"
        tries = f", {self.attempts} attempts" if self.attempts > 1 else ""
        return f"failure {place}: {self.code}: {self.message} ({self.url or 'no URL'}{tries})"


class RecentFailures:
    """Keeps the last failures, and logs them sparingly. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._sparing = Sparing(log, "failures", clock)
        self._lock = threading.Lock()
        self._kept: dict[bool, deque[FailedEvent]] = {False: deque(maxlen=MOST), True: deque(maxlen=MOST)}

    def note(self, failed: FailedEvent) -> None:
        """One more failure."""
        with self._lock:
            self._kept[failed.over_http].append(failed)
        self._sparing.log(logging.WARNING if failed.retriable else logging.INFO, failed.code, "%s", failed)

    def tell(self) -> None:
        """Logs how many had no line of their own, when it is time to. To be called now and then."""
        self._sparing.tell()

    def last(self) -> list[FailedEvent]:
        """Those that are kept, the newest first."""
        with self._lock:
            kept = [*self._kept[False], *self._kept[True]]
        return sorted(kept, key=lambda one: one.at, reverse=True)
