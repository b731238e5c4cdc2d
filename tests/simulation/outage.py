"""Outages of what all events share, and how many events they may cost.

An outage makes work fail as `consumer.worker` would say it; the real breaker judges by that. `Patience` counts
for one process what it publishes as failed, and knows how much its breaker may let through.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from consumer.breaker import GIVE_UP_S, PROBES_EACH
from consumer.evidence import Evidence
from consumer.places import REMEMBERED_S
from consumer.suspicion import GOOD_FOR_DEADLINES, MOST_PATIENCE, RUN
from tests.simulation.dice import Dice

Cause = Literal["network", "resolver", "model", "host", "names"]

CODES: dict[Cause, tuple[str, ...]] = {
    "network": ("connect_failed", "fetch_timeout"),
    "resolver": ("dns_failed",),
    "model": ("model_failed",),
    "host": ("connect_failed", "fetch_timeout"),
    "names": ("dns_failed", "connect_failed", "fetch_timeout"),
}

DEAD_NAMES, HEALTHY = 40, 5
"""Names of hosts that are never reached, where there are any; and the events of each partition before them."""

LASTS_S = (1.0, 5.0, 15.0, 40.0)
LONG_S = 400.0
"""Longer than a model's ten probes take, so that its process ends and another one comes."""
LONGEST_S = GIVE_UP_S + 400.0
"""Longer than a single host is waited for."""


@dataclass(frozen=True, slots=True)
class Outage:
    """``begins`` and ``ends`` are times of the agenda. Of cause ``host`` it is that of the first host alone, of cause
    ``names`` that of hosts which somebody names although they were never reached."""

    cause: Cause
    code: str
    begins: float
    ends: float


class Outages:
    """All outages of a history, and the hosts whose images its events name."""

    def __init__(self, dice: Dice, now: float, most: int) -> None:
        self._hosts = dice.choose((1, 1, 2, 3, 8))
        dead = dice.choose((0.0, 0.0, 0.0, 0.6, 0.9, 0.95)) if most else 0.0
        self._are_dead = [dice.chance(dead) for _ in range(97)] if dead else []
        self._outages: list[Outage] = []
        for _ in range(dice.random.randint(1, most) if most else 0):
            cause: Cause = dice.choose(("network", "network", "resolver", "model", "host"))
            lasts_s = dice.choose(LASTS_S)
            if dice.chance(0.05):
                lasts_s = LONGEST_S if self._hosts == 1 and cause != "model" else LONG_S
            begins = now + (0.0 if dice.chance(0.5) else dice.between(0.0, 10.0))
            self._outages.append(Outage(cause, dice.choose(CODES[cause]), begins, begins + lasts_s))
        if self._are_dead:
            self._outages.append(Outage("names", dice.choose(CODES["names"]), now, now + dice.choose(LASTS_S)))

    @property
    def names_dead_hosts(self) -> bool:
        """Whether some events name hosts that were never reached."""
        return bool(self._are_dead)

    @property
    def over_at(self) -> float:
        """When all of them are over."""
        return max((one.ends for one in self._outages), default=-math.inf)

    def host(self, partition: int, offset: int) -> int:
        """Whose image an event names; negative if the host is one that was never reached."""
        if self._are_dead and offset >= HEALTHY and self._are_dead[(31 * partition + offset) % len(self._are_dead)]:
            return -1 - (partition + offset) % DEAD_NAMES
        return (partition + offset) % self._hosts

    def code(self, host: int, now: float) -> str | None:
        """The error code that work for this host ends with; null if all is well."""
        for one in self._outages:
            concerned = host == 0 if one.cause == "host" else host < 0 if one.cause == "names" else True
            if one.begins <= now < one.ends and concerned:
                return one.code
        return None


@dataclass(frozen=True, slots=True)
class Failure:
    """One event's failure by an outage, as `Patience` saw it. ``window``: how often things had worked before, or were
    forgotten."""

    cause: Literal["network", "model"]
    window: int
    excused: bool


class Patience:
    """Of one process: how many events it gives up for an outage before its breaker must have opened.

    The rule: once everything that was heard of lately fails, fewer than `RUN` failures become outcomes until
    something works again; twice as many each time that it was not the network, up to `MOST_PATIENCE` times.
    Failures are counted anew where nothing failed for as long as the breaker remembers (`REMEMBERED_S`).
    Not counted are events that failed as probes `PROBES_EACH` times, and a single host that was given up.

    Args:
        deadline_s: as the breaker has it.
        complain: told of each breach.
    """

    def __init__(self, deadline_s: float, complain: Callable[[str], None]) -> None:
        self._good_for_s = GOOD_FOR_DEADLINES * deadline_s
        self._complain = complain
        self._worked: dict[str, float] = {}
        self._windows: Counter[str] = Counter()
        self._given_up: Counter[tuple[str, int]] = Counter()
        self._attempts: Counter[tuple[int, int, int]] = Counter()
        self._failing_since = math.inf
        self._failed_at = -math.inf
        self._refuted = 0

    def worked_on(self, event: tuple[int, int, int], told: Evidence, now: float) -> Failure | None:
        """An event has been worked on, and this is what it says; null if nothing of ours failed."""
        if told.network:
            self._worked[told.place] = now
            self._windows["network"] += 1
            self._failing_since = math.inf
        if told.model:
            self._windows["model"] += 1
        if not told.ours:
            return None
        self._attempts[event] += 1
        if told.model is False:
            return Failure("model", self._windows["model"], excused=False)
        self._worked.pop(told.place, None)
        self._failed(now)
        self._failing_since = min(self._failing_since, now)
        excused = (
            any(now - at <= self._good_for_s for at in self._worked.values())
            or self._attempts[event] >= PROBES_EACH
            or now - self._failing_since >= GIVE_UP_S
        )
        return Failure("network", self._windows["network"], excused)

    def asked(self, host: str, reached: bool, now: float) -> None:
        """A host was asked whether it can be reached."""
        if reached:
            self._worked[host] = now
            self._windows["network"] += 1
            self._failing_since = math.inf
            self._refuted += 1
        else:
            self._worked.pop(host, None)
            self._failed(now)

    def published(self, failure: Failure) -> None:
        """The failure is handed to a producer as the event's outcome."""
        if failure.excused:
            return
        place = failure.cause, failure.window
        self._given_up[place] += 1
        patience = RUN * min(MOST_PATIENCE, 2**self._refuted) if failure.cause == "network" else RUN
        if self._given_up[place] >= patience:
            self._complain(f"given up: {self._given_up[place]} events in a row, for an outage of the {failure.cause}")

    def _failed(self, now: float) -> None:
        if now - self._failed_at > REMEMBERED_S:
            self._windows["network"] += 1
        self._failed_at = now
