"""The last failures: what failed, when and of what, for the log and for who is on call.

The metrics count failures by code; the outcome and the dead letter say everything of one event. This
is what lies between: enough of the last ones to see what is going on, with URLs masked, bounded in number
and size.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consumer.events import Failure
from consumer.logs.masking import mask_url, printable

log = logging.getLogger(__name__)

MOST: Final = 200
"""Failures that are kept of the topic, and as many of HTTP callers, who must not push those of the topic out."""

SHORT: Final = 200
"""Characters that are kept of a URL, a message and an event's id: with them a failure takes under 3 kB."""

LINES: Final = 10
WINDOW_S: Final = 10.0
"""Failures that get a line of their own in a window; the others of it are counted in one line at its end. A
topic that is all failures writes about 30 MB of log a day, whatever its speed."""


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
            event_id=None if event_id is None else printable(event_id[:SHORT])[:SHORT],
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
    """Keeps the last failures and logs them, not more than a disk can take. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[bool, deque[FailedEvent]] = {False: deque(maxlen=MOST), True: deque(maxlen=MOST)}
        self._window_ends = 0.0
        self._lines = 0
        self._untold: Counter[str] = Counter()

    def note(self, failed: FailedEvent) -> None:
        """One more failure."""
        self.tell()
        with self._lock:
            self._kept[failed.over_http].append(failed)
            if self._lines == 0:
                self._window_ends = self._clock() + WINDOW_S
            told = self._lines < LINES
            self._lines += 1
            if not told:
                self._untold[failed.code] += 1
        if told:
            log.log(logging.WARNING if failed.retriable else logging.INFO, "%s", failed)

    def tell(self) -> None:
        """Ends the window if its time is over, and tells what had no line of its own. To be called now and then."""
        with self._lock:
            if self._lines == 0 or self._clock() < self._window_ends:
                return
            untold, self._untold = self._untold, Counter()
            self._lines = 0
        if untold:
            codes = ", ".join(f"{count} {code}" for code, count in untold.most_common())
            log.warning("%d more failures within %g s: %s", untold.total(), WINDOW_S, codes)

    def last(self) -> list[FailedEvent]:
        """Those that are kept, the newest first."""
        with self._lock:
            kept = [*self._kept[False], *self._kept[True]]
        return sorted(kept, key=lambda one: one.at, reverse=True)
