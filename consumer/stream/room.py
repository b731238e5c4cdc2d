"""How much a broker is given before it has acknowledged it, once it has found a batch too large.

A topic's ``max.message.bytes`` is the limit of a batch, and librdkafka makes batches of up to 1 MB whatever the topic
allows: either one message is larger than the limit, or all of them together are, and the refusal says neither which nor
how large. So what was refused is sent again in halves, and in halves of those. A message that is still refused when it
is sent alone is the culprit; where only the batches were too large, what fits is soon found, and kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

WIDER_AFTER_S: Final = 60.0
"""How long nothing larger is tried. Each try that fails costs a publication."""

LIBRDKAFKAS_OWN: Final = 1_000_000
"""A batch is never larger than that (``batch.size``), so a room of more is none."""


class Room:
    """Bytes, of all topics together. It outlives producers; belongs to the stream's thread.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._size = math.inf
        self._wider_at = math.inf

    def size(self) -> float:
        """What may be under way at once; infinite as long as nothing was refused."""
        if self._clock() >= self._wider_at:
            self._size *= 2
            self._wider_at = self._clock() + WIDER_AFTER_S
            if self._size > LIBRDKAFKAS_OWN:
                self._size = self._wider_at = math.inf
        return self._size

    def refused(self, size: int) -> None:
        """So much was too large."""
        self._size = size / 2
        self._wider_at = self._clock() + WIDER_AFTER_S
