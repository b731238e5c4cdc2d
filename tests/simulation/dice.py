"""Every choice of a history, out of one seed; and the trace that tells them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from confluent_kafka import KafkaError

from tests.simulation.profiles import Profile

T = TypeVar("T")

Kind = Literal["lost", "unanswered", "late", "error", "slow", "crash", "stop"]

MATTERS = 0.5
"""How often other threads get their turn between two calls where that matters (see `Dice.hiccup`)."""

LATEST_S = 30.0
"""How late a request may still take effect."""

ODDITIES: dict[str, tuple[int, ...]] = {
    "init": (KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.UNKNOWN),
    "produce": (KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.UNKNOWN),
    "add offsets": (KafkaError.NOT_COORDINATOR, KafkaError.UNKNOWN),
    "send offsets": (KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.UNKNOWN),
    "end": (KafkaError.NOT_COORDINATOR, KafkaError.UNKNOWN, KafkaError.INVALID_TXN_STATE),
    "committed": (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.UNKNOWN),
    "commit": (KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.REBALANCE_IN_PROGRESS),
    "metadata": (KafkaError._TRANSPORT,),
}
"""Request → codes that a broker in trouble may answer, whether it did what was asked or not."""

REQUESTS = ("lost", "unanswered", "late", "error", "slow")


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one request. ``done_s``: when it takes effect; null: never."""

    kind: Kind
    done_s: float | None
    code: int = 0
    lasts_s: float = 0.0


class Dice:
    """One generator of random numbers for a whole history, so that its seed tells all of it."""

    def __init__(self, seed: int, profile: Profile, clock: Callable[[], float], *, traced: bool = False) -> None:
        self.random = random.Random(seed)
        self.trace: list[str] | None = [] if traced else None
        self.calm = False
        """Nothing goes wrong any more."""
        self.late_until = 0.0
        """Until when a request that is under way may take effect."""
        self.script: dict[tuple[str, int], Fate] = {}
        """Request and how many of its kind came before → its fate: for a history that is told, not cast."""
        self._asked: dict[str, int] = {}
        self._clock = clock
        self._faults: list[tuple[Kind, float]] = []
        # Each history has a taste of its own: a few kinds of trouble, rare or frequent. Mixing everything
        # evenly would make all histories alike.
        rate = self.random.choice((0.01, 0.03, 0.1))
        for kind, weight in profile.faults.items():
            if self.random.random() < 0.6:
                self._faults.append((kind, weight))
        self._hiccups = self.random.choice((0.0, 0.01, 0.05)) if profile.most_faults else 0.0
        self.full = self.random.choice((0.0, 0.0, 0.02)) if profile.most_faults else 0.0
        """How often a producer's queue is full."""
        self._rate = rate if self._faults else 0.0
        self.left = self.random.randint(1, profile.most_faults) if profile.most_faults else 0
        """How many faults may still come."""
        self.fell = 0
        """How many have come."""

    def tell(self, who: str, text: str, *values: object) -> None:
        """One line of the trace."""
        if self.trace is not None:
            self.trace.append(f"{len(self.trace):5} {self._clock() - 1000:9.4f} {who:14} {text.format(*values)}")

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.random.random() < probability

    def short(self) -> float:
        """Seconds that a request or a marker takes when all is well."""
        return 0.0005 + self.random.random() * 0.008

    def between(self, low: float, high: float) -> float:
        """Seconds, evenly spread."""
        return low + (high - low) * self.random.random()

    def choose(self, among: Sequence[T]) -> T:
        """One of them."""
        return among[int(self.random.random() * len(among))]

    def hiccup(self, *, rarely: bool = True) -> tuple[Kind, float] | None:
        """What happens between two calls that ask no broker; null: nothing. Not rarely: where a turn of other threads
        takes microseconds, and matters."""
        if self.calm or self.random.random() >= (self._hiccups if rarely else MATTERS * (self._hiccups > 0)):
            return None
        if self.left and self._faults and self.random.random() < self._rate:
            kind = self.choose(self._faults)[0]
            if kind in ("crash", "stop"):
                self.left -= 1
                self.fell += 1
                return kind, self._stop_s()
        return "slow", self.between(0.0001, 0.05 if rarely else 1.0)

    def _stop_s(self) -> float:
        """Seconds of a stop: most outlast the session."""
        return self.between(0.5, 12.0) if self.random.random() < 0.3 else self.between(10.0, 40.0)

    def fate(self, request: str, weight: float) -> Fate | None:
        """What happens to this request; null: all is well. ``weight``: how interesting it is, 1 by default."""
        if self.script:
            self._asked[request] = number = self._asked.get(request, -1) + 1
            fate = self.script.get((request, number))
            if fate is not None and fate.done_s is not None:
                self.late_until = max(self.late_until, self._clock() + fate.done_s)
            return fate
        if self.calm or not self.left or self.random.random() >= self._rate * weight:
            return None
        kinds, weights = zip(*self._faults, strict=True)
        (kind,) = self.random.choices(kinds, weights)
        if kind == "error" and request not in ODDITIES:
            return None
        self.left -= 1
        self.fell += 1
        done: float | None = self.short()
        code, lasts = 0, 0.0
        if kind in ("lost", "error", "crash") and self.random.random() < 0.5:
            done = None
        if kind == "late":
            done = self.between(0.2, 12.0) if self.random.random() < 0.7 else self.between(1.0, LATEST_S)
            self.late_until = max(self.late_until, self._clock() + done)
        if kind == "lost":
            done = None
        if kind == "error":
            code = self.choose(ODDITIES[request])
        if kind == "slow":
            lasts = self.between(0.05, 4.0)
        if kind == "stop":
            lasts = self._stop_s()
        return Fate(kind, done, code, lasts)
