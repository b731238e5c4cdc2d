"""How many processes one machine's images hold at the same time, so that they never hold them all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Shares:
    """Counts places by who sent the image. Thread-safe.

    Args:
        most: places for one machine at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[Hashable] = Counter()
        self._freed = threading.Condition()

    @contextmanager
    def one(self, machine: Hashable, until: float) -> Iterator[None]:
        """A place of this machine; null stands for one that nobody knows, and is not counted.

        Raises:
            TimeoutError: there was none until this monotonic time.
        """
        if machine is None:
            yield
            return
        with self._freed:
            if not self._freed.wait_for(lambda: self._held[machine] < self._most, max(0.0, until - time.monotonic())):
                raise TimeoutError
            self._held[machine] += 1
        try:
            yield
        finally:
            with self._freed:
                self._held[machine] -= 1
                if not self._held[machine]:
                    del self._held[machine]
                self._freed.notify_all()
