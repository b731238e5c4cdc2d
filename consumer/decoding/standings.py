"""Which machines sent images that took long to decode, and for how long that is held against them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

SLOW_S = 0.25
"""An image that takes so much of a processor is slow. A JPEG of a shop takes 0.005 s, one of 12 megapixels 0.15 if it
is progressive."""

WEIGHT = 60
"""A machine counts as slow for so many times what its slow images took: it takes sixty to keep one process busy."""

MOST_MACHINES = 10_000
"""Remembered; those that sent nothing for the longest are forgotten, and new when they come again."""


class Standings:
    """What each machine's images took. ``lock`` is held by whoever asks or tells."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._slow_until: OrderedDict[Hashable, float] = OrderedDict()

    def took(self, machine: Hashable, seconds: float, now: float) -> None:
        """An image of this machine came to an end after so many seconds of a processor."""
        until = self._slow_until.pop(machine, now)
        self._slow_until[machine] = max(until, now) + WEIGHT * seconds if seconds >= SLOW_S else until
        if len(self._slow_until) > MOST_MACHINES:
            self._slow_until.popitem(last=False)

    def is_known(self, machine: Hashable) -> bool:
        """Whether an image of it came to an end before."""
        return machine in self._slow_until

    def slow_for_s(self, machine: Hashable, now: float) -> float:
        """How much longer it counts as slow; 0 if it does not."""
        return max(0.0, self._slow_until.get(machine, now) - now)

    def is_quick(self, machine: Hashable, now: float) -> bool:
        """Whether it is known, and its images were quick lately."""
        return self.is_known(machine) and not self.slow_for_s(machine, now)
