"""Trouble that lasts is told at once, and then once in a while: not at every attempt."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

AGAIN_AFTER_S = 30.0
"""How often the same trouble is told while it lasts."""


class Repeats:
    """Warnings, each kind at most once in 30 s until it is `over`. Any thread may call.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._told_at: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def warning(self, kind: Hashable, text: str, *values: object) -> None:
        """Logs ``text % values`` unless this kind of trouble was told less than 30 s ago."""
        now = self._clock()
        with self._lock:
            told_at = self._told_at.get(kind)
            if told_at is not None and now - told_at < AGAIN_AFTER_S:
                return
            self._told_at[kind] = now
        self._logger.warning(text, *values)

    def over(self, *kinds: Hashable) -> None:
        """These kinds of trouble have ended, all of them if none is named: the next one is told at once."""
        with self._lock:
            for kind in kinds or tuple(self._told_at):
                self._told_at.pop(kind, None)
