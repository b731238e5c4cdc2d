"""Log lines that come as often as events must not fill a disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

LINES: Final = 10
WINDOW_S: Final = 10.0
"""So many get a line of their own in a window, the others of it are counted in one line at its end: a topic
that is all failures writes about 30 MB of log a day, whatever its speed."""


class Sparing:
    """Logs what happens often. Thread-safe.

    Args:
        logger: where to.
        what: what is logged, in the plural, for the line that counts.
        clock: monotonic seconds.
    """

    def __init__(self, logger: logging.Logger, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._what = what
        self._clock = clock
        self._lock = threading.Lock()
        self._ends = 0.0
        self._lines = 0
        self._untold: Counter[str] = Counter()

    def log(self, level: int, kind: str, message: str, *more: Any, exc_info: BaseException | None = None) -> None:
        """One more, of a kind that it is counted by; otherwise as `logging.Logger.log`."""
        self.tell()
        with self._lock:
            if self._lines == 0:
                self._ends = self._clock() + WINDOW_S
            self._lines += 1
            if self._lines > LINES:
                self._untold[kind] += 1
                return
        self._logger.log(level, message, *more, exc_info=exc_info)

    def tell(self) -> None:
        """Ends the window if its time is over, and counts what had no line of its own. May be called at any time."""
        with self._lock:
            if self._lines == 0 or self._clock() < self._ends:
                return
            untold, self._untold = self._untold, Counter()
            self._lines = 0
        if untold:
            kinds = ", ".join(f"{count} {kind}" for kind, count in untold.most_common())
            self._logger.warning("%d more %s within %g s: %s", untold.total(), self._what, WINDOW_S, kinds)
