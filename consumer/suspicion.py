"""Whether the network may be gone: what makes that a suspicion, and who knows better.

One host that is down is that host's trouble, and every event of it fails; so not events are counted but *places*: the
hosts that events name, see `consumer.places`. It may be the network when `RUN` events failed in a row and nearly all
places that were heard of lately (`SHARE`), when a very long run failed, whoever they are of, or when nearly all places
fail that were reached before, though one that keeps its connections open goes on, as where the resolver is down.

But whoever may publish can name dead hosts by the thousand; and when all others of a topic have had their turn, those
are left that nobody answers for. So a suspicion is *asked about*: can hosts be reached that were reached before?
No clock: the time is passed in, as monotonic seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Set
from typing import Final

from consumer.evidence import Evidence
from consumer.places import REMEMBERED_S, Places

RUN: Final = 20
"""Failures that make a suspicion. Fewer say little: where one fetch finds that a host is down, all that stand in
its line fail at once. More would only be more dead letters in a topic that is too slow for `DOUBT_S`."""

SHARE: Final = 0.8
"""Of the places, how many must fail. Not all of them: where the resolver is down, a busy host goes on over its open
connections. One of two, or three of four, is not the network."""

LONG_RUN: Final = 100
SILENCE_S: Final = 1.5
"""So many failures in a row, and not one success for so long, make a suspicion whoever fails. Not a run alone:
thousands of events may stand in the line of one host, and fail at once."""

GOOD_FOR_DEADLINES: Final = 3
"""How long a place speaks for the network that was reached, in fetch deadlines: healthy hosts must not be forgotten
while every thread waits for a dead one."""

ASK_AFTER_S: Final = 1.0
"""How long it is only a suspicion: where healthy hosts answer all the time, one of them does within this time."""

WITNESSES: Final = 8
"""Hosts that are asked, each of another domain. With one alone, whose domain goes dark could pause the intake."""

MOST_PATIENCE: Final = 32
"""It was not the network, and hosts that were reached before still fail: then it was theirs. Each time, it takes twice
as many failures to suspect it again, up to so many times as many, until one of them works again or `REMEMBERED_S` is
over. Otherwise the outage of a network of image servers would be asked about every few seconds, for hours."""


class Suspicion:
    """What speaks for the network, and what against it.

    Args:
        deadline_s: how long a fetch takes at most.
    """

    def __init__(self, deadline_s: float) -> None:
        self._places = Places(GOOD_FOR_DEADLINES * deadline_s)
        self._run = 0  # of failures, since anything was reached
        self._failed_at = -math.inf
        self._patience = 1
        self._patient_since = -math.inf
        self._patient_with: Set[str] = frozenset()
        self._since: float | None = None
        self.reached_at = -math.inf
        """When anything was reached last."""
        self.holds = False
        """Whether it may be the network."""

    def note(self, told: Evidence, now: float) -> None:
        """What an event says, or a host that was asked."""
        if told.network:
            self._places.reached(told.place, told.root, now)
            self._run, self.reached_at = 0, now
            if told.place in self._patient_with:
                self._patience, self._patient_with = 1, frozenset()
            self.holds = self.holds and self._those_who_were_reached_fail(now)
        elif told.network is False:
            self._places.failed(told.place, told.code, now)
            if now - self._failed_at > REMEMBERED_S:
                self._run = 0
            if now - self._patient_since > REMEMBERED_S:
                self._patience = 1
            self._run, self._failed_at = self._run + 1, now
            self.holds = self._all_fail_in_a_row(now) or self._those_who_were_reached_fail(now)
        if not self.holds:
            self._since = None

    def witnesses(self, *, failing_too: bool = False) -> dict[str, str]:
        """Who may know better, and their URLs; those that fail would only know that it is over."""
        return self._places.witnesses(WITNESSES, failing_too=failing_too)

    def is_to_be_asked_about(self, now: float) -> bool:
        """Whether it has held for long enough, since this was asked first."""
        if self.holds and self._since is None:
            self._since = now
        return self._since is not None and now - self._since >= ASK_AFTER_S

    def refuted(self, now: float) -> None:
        """It was not the network, or it is back."""
        if self._those_who_were_reached_fail(now):
            self._patience, self._patient_since = min(MOST_PATIENCE, 2 * self._patience), now
            self._patient_with = self.failing(now)
        self._run, self._since, self.holds = 0, None, False
        self._places.forgive()

    def failing(self, now: float) -> frozenset[str]:
        """The hosts that fail."""
        return frozenset(self._places.failing(now))

    def told(self, now: float) -> str:
        """What speaks for it, without anything out of an event."""
        failing = Counter(self._places.failing(now).values())
        codes = ", ".join(f"{count} {code}" for code, count in failing.most_common())
        return f"nothing comes from {failing.total()} of {failing.total() + self._places.well(now)} hosts: {codes}"

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _all_fail_in_a_row(self, now: float) -> bool:
        if self._run < RUN * self._patience:
            return False
        if self._run >= LONG_RUN * self._patience and now - self.reached_at >= SILENCE_S:
            return True
        heard = self._places.heard(now)
        return heard.against >= SHARE * heard.all

    def _those_who_were_reached_fail(self, now: float) -> bool:
        known = self._places.known(now)
        return known.failures >= RUN * self._patience and known.against >= SHARE * known.all
