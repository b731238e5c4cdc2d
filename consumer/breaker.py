"""The breaker: tells failures that may be ours from those that are the events' own.

Without it, an hour without a network turns a topic into dead letters: each event fails for a reason that
has nothing to do with it. It is told what every finished event says about the world that all of them
share (`Evidence`), and opens when hardly anything gets through::

    closed ──(network or model seems to be gone)──► open ──(a pause is over)──► probing
      ▲                                              ▲   ◄──(the probe failed)──┘  │
      └──────────────────────────(the probe got through)───────────────────────────┘

Whoever asks it holds the intake back while it is open, keeps what failed for later, and sends single
events as probes. A pure state machine: no thread, no clock, time is passed in as monotonic seconds.

How it judges. One host that is down is that host's trouble, and every event of it fails; so not events are
counted but *places*: the hosts that events name. The network seems to be gone when `RUN` events failed and
nearly all of the places that were heard of lately (`SHARE`) are among those that fail, or when a very long
run of events failed and not one got through. The model is one place of its own. Whether the resolver is
down needs no rule of its own: then each host fails, though one that keeps its connection open goes on.

What an event fails of by itself never opens it. An answer of any kind from a host (404, a page instead of
an image) shows that resolver and network work, and so does a resolver that says that there is no such host.
An event that asked nobody (a bad or forbidden URL) says nothing at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Literal

from consumer.errors import (
    ConnectFailed,
    DnsFailed,
    EventUnreadable,
    FetchTimeout,
    ModelFailed,
    Overloaded,
    UrlBlocked,
    UrlInvalid,
)

Cause = Literal["network", "model"]

RUN: Final = 20
"""Failures that make a suspicion. Fewer are weather: a topic with 1 % of dead hosts among many sees 20 of
them, and nothing else, about never. More would only be more dead letters before it opens."""

SHARE: Final = 0.8
"""Of the places heard of lately, how many must fail. Not all of them: where the resolver is down, a busy
host goes on over its open connections. One of two, or three of four, is not the network."""

LONG_RUN: Final = 100
"""Failures in a row, without a single success, that make a suspicion although other places worked just now."""

PLACES: Final = 32
"""Places that are remembered, those heard of last. In a topic of very many hosts, each new failure is of a
host of its own and pushes a healthy one out, so that 26 failures suffice there."""

GOOD_FOR_DEADLINES: Final = 3
"""How long it is remembered that a place worked, in fetch deadlines: healthy hosts must not be forgotten while
every thread waits for a dead one."""

BAD_FOR_S: Final = 600.0
"""How long a place's failures are remembered unless it works again: in a slow topic 20 failures take minutes."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Pauses between probes double from the first to the longest: a hiccup costs a second, and after a long outage
work goes on within half a minute."""

PROBES_EACH: Final = 10
"""Failed probes of one event after which its failure is its outcome: no event waits for ever."""

MODEL_PROBES: Final = 10
"""Failed probes in a row, about three minutes, after which a model is not waited for any longer. It was warm
and agreed with its reference when the process started; only a new start loads it again."""

NETWORK_FAILED: Final = frozenset({ConnectFailed.code, FetchTimeout.code})
_HOST: Final = re.compile(r"[^:/?#]*:[/\\]*(?:[^/?#\\]*@)?(\[[^/?#\]]*\]|[^/?#:\\]*)")
SAYS_NOTHING: Final = frozenset({EventUnreadable.code, UrlInvalid.code, UrlBlocked.code, Overloaded.code})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one event says about what all events share; null where it did not ask.

    ``code`` is that of its failure, null if there is none. ``place`` is the host that its URL names.
    """

    code: str | None
    place: str = ""
    network: bool | None = None
    model: bool | None = None

    @property
    def ours(self) -> bool:
        """Whether it failed of what may be our trouble."""
        return self.network is False or self.model is False


def evidence(url: str, code: str | None, *, retriable: bool = False) -> Evidence:
    """What an event with this URL says that ended with this code, null for a prediction."""
    if code in SAYS_NOTHING:
        return Evidence(code)
    place = _host(url)
    if code is None:
        return Evidence(None, place, network=True, model=True)
    if code == ModelFailed.code:
        return Evidence(code, place, network=True, model=False)
    failed = code in NETWORK_FAILED or (code == DnsFailed.code and retriable)
    return Evidence(code, place, network=not failed)


def _host(url: str) -> str:
    """Whose trouble it may be: need not be exact, must be cheap, takes any text."""
    found = _HOST.match(url)
    return found[1].lower() if found else ""


@dataclass(frozen=True, slots=True)
class _Place:
    failures: int  # since it worked
    code: str | None  # of the last one
    at: float  # when it was heard of last


class Breaker:
    """See the module's text. Not thread-safe: it belongs to the stream's thread.

    Args:
        width: most events in flight. All of them may wait for one dead host at the same time, so a run
            without a success means something only if it is a multiple of this.
        deadline_s: how long a fetch takes at most.
    """

    def __init__(self, width: int = 64, deadline_s: float = 10.0) -> None:
        self._long_run = max(LONG_RUN, 2 * width)
        self._good_for_s = GOOD_FOR_DEADLINES * deadline_s
        self._places: dict[str, _Place] = {}
        self._network_run = 0
        self._model_run = 0
        self.cause: Cause | None = None
        """Why it is open; null while it is closed."""
        self.opened_at = 0.0
        self.reason = ""
        """The same in words, without anything out of an event."""
        self.failed_probes = 0
        """In a row."""
        self.probe_at = 0.0
        """When the next probe may begin."""
        self._probe: Hashable | None = None
        self._probes: Counter[Hashable] = Counter()

    @property
    def probing(self) -> bool:
        """Whether a probe is under way."""
        return self._probe is not None

    @property
    def hopeless(self) -> bool:
        """Whether only a new process may help."""
        return self.cause == "model" and self.failed_probes >= MODEL_PROBES

    def finished(self, event: Hashable, told: Evidence, now: float) -> bool:
        """An event has been worked on.

        Args:
            event: the same each time that the same event is worked on.
            told: what it says.
            now: monotonic seconds.

        Returns:
            Whether what it came to counts. If not, it failed for a reason that may be ours, and is to
            be worked on once more.
        """
        if self.cause is None:
            self._note(told, now)
            self.cause = self._judge(now) if told.ours else None
            if self.cause is None:
                return True
            self._open(self.cause, now)
            return False
        if event != self._probe:  # begun before it opened
            return not told.ours
        self._probe = None
        passed = told.network if self.cause == "network" else told.model
        if passed:
            self._close()
            self._note(told, now)
            return True
        if not told.ours:  # it says nothing, so the next may begin at once
            self.probe_at = now
            return True
        if told.network is False and self.cause == "model":  # one trouble does not rule out another
            self.cause, self.reason = "network", f"a probe failed: {told.code}"
        self.failed_probes += 1
        self.probe_at = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self.failed_probes)
        self._probes[event] += 1
        if self._probes[event] < PROBES_EACH or self.cause == "model":
            return False
        del self._probes[event]
        return True

    def probe(self, event: Hashable) -> None:
        """This event is being worked on to find out."""
        self._probe = event

    def abandoned(self) -> None:
        """The probe under way will not come to an end: its partition was taken away."""
        self._probe = None

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _note(self, told: Evidence, now: float) -> None:
        if told.model is not None:
            self._model_run = 0 if told.model else self._model_run + 1
        if told.network is not None:
            known = self._places.pop(told.place, None)  # and to the end: the order is of hearing
            failures = 0 if told.network else 1 + (known.failures if known else 0)
            self._places[told.place] = _Place(failures, told.code, now)
            if len(self._places) > PLACES:
                del self._places[next(iter(self._places))]
            self._network_run = 0 if told.network else self._network_run + 1

    def _judge(self, now: float) -> Cause | None:
        if self._model_run >= RUN:
            return "model"
        for name, place in list(self._places.items()):
            if now - place.at > (BAD_FOR_S if place.failures else self._good_for_s):
                del self._places[name]
        bad = [place.failures for place in self._places.values() if place.failures]
        if (sum(bad) >= RUN and len(bad) >= SHARE * len(self._places)) or self._network_run >= self._long_run:
            return "network"
        return None

    def _open(self, cause: Cause, now: float) -> None:
        self.opened_at, self.probe_at = now, now + FIRST_PAUSE_S
        if cause == "model":
            self.reason = f"the model failed for {self._model_run} events in a row"
            return
        bad = Counter(str(place.code) for place in self._places.values() if place.failures)
        codes = ", ".join(f"{count} {code}" for code, count in bad.most_common())
        self.reason = f"nothing comes from {bad.total()} of {len(self._places)} hosts: {codes}"

    def _close(self) -> None:
        self.cause, self.failed_probes, self.reason = None, 0, ""
        self._network_run = self._model_run = 0
        self._places.clear()
        self._probes.clear()
