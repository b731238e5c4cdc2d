"""The breaker: tells failures that may be ours from those that are the events' own.

Without it, an hour without a network turns a topic into dead letters: each event fails for a reason that
has nothing to do with it. It is told what every finished event says about the world that all of them
share (`Evidence`), and opens when hardly anything gets through::

    closed ── hardly anything gets through ──► open ── after a pause ──► probing
       ▲                                        ▲                        │    │
       │                                        └──── the probe failed ──┘    │
       └──────────────────────── the probe got through ───────────────────────┘

Whoever asks it holds the intake back while it is open, keeps what failed for later, and sends single
events as probes. A pure state machine: no thread, no clock, time is passed in as monotonic seconds.

How it judges. One host that is down is that host's trouble, and every event of it fails; so not events are
counted but *places*: the hosts that events name. The network seems to be gone when `RUN` events failed and
nearly all of the places that were heard of lately (`SHARE`) are among those that fail, or when a very long
run of events failed and not one got through. The model is one place of its own, and so is the machine that starts
the processes which decode. Whether the resolver is down needs no rule of its own: then each host fails, though
one that keeps its connection open goes on.

What an event fails of by itself never opens it. An answer of any kind from a host (404, a page instead of
an image) shows that resolver and network work, and so does a resolver that says that there is no such host.
An event that asked nobody (a bad or forbidden URL) says nothing at all.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from consumer.errors import (
    ConnectFailed,
    DnsFailed,
    EventUnreadable,
    FetchTimeout,
    ImageError,
    ModelFailed,
    Overloaded,
    Stage,
    UrlBlocked,
    UrlInvalid,
)

Cause = Literal["network", "decoder", "model"]

RUN: Final = 20
"""Failures that make a suspicion. Fewer say little: where one fetch finds that a host is down, all that stand in
its line fail at once. More would only be more dead letters in a topic that is too slow for `DOUBT_S`."""

SHARE: Final = 0.8
"""Of the places heard of lately, how many must fail. Not all of them: where the resolver is down, a busy
host goes on over its open connections. One of two, or three of four, is not the network."""

LONG_RUN: Final = 100
SILENCE_S: Final = 1.5
"""So many failures in a row, and not one success for so long, make a suspicion although other places worked
a while ago. Not a run alone: thousands of events may stand in the line of one host, and fail at once."""

DOUBT_S: Final = 2.0
"""How long to wait before a failure that may be ours is believed. A host that refuses is given up after three
attempts, 0.7 s; so within this time it shows whether the others fail too."""

PLACES: Final = 32
"""Places that are remembered, those heard of last. In a topic of very many hosts, each new failure is of a
host of its own and pushes a healthy one out, so that 26 failures suffice there."""

GOOD_FOR_DEADLINES: Final = 3
"""How long it is remembered that a place worked, in fetch deadlines: healthy hosts must not be forgotten while
every thread waits for a dead one."""

BAD_FOR_S: Final = 600.0
"""How long a place's failures are remembered unless it works again: in a slow topic 20 failures take minutes."""

MOST_PATIENCE: Final = 32
"""It opened, a probe got through, and the hosts that failed still do: then it was theirs. Each time, it takes twice
as many failures to open it again, up to so many times as many, until one of them works again or `BAD_FOR_S` is over.
Otherwise the outage of a network of image servers with twenty names would open and close it for hours."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Pauses between probes double from the first to the longest: a hiccup costs a second, and after a long outage
work goes on within half a minute."""

PROBES_EACH: Final = 10
"""Failed probes of one event after which its failure is its outcome: no event waits for ever."""

GIVE_UP_S: Final = 3600.0
"""How long a single host is waited for. If it alone fails and nobody else is heard of, it may be the network or the
host; after an hour it counts as dead until it works again, and its failures are those of its events."""

HOPELESS_PROBES: Final = 10
"""Failed probes in a row, about three minutes, after which a model, or a machine on which no decoder starts, is not
waited for any longer. Both worked when the process started; only a new start loads the model again."""

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
    decoder: bool | None = None
    model: bool | None = None

    @property
    def ours(self) -> bool:
        """Whether it failed of what may be our trouble."""
        return self.network is False or self.decoder is False or self.model is False


def evidence(
    url: str,
    code: str | None,
    *,
    retriable: bool = False,
    stage: Stage = "predict",
    foreseen: bool = True,
    recalled: bool = False,
) -> Evidence:
    """What an event with this URL says that ended with this code, null for a prediction.

    A ``recalled`` prediction says nothing of decoder and model, which were not asked.

    What nobody foresaw speaks against nobody, not even if it has the code of the model's failures: a stranger
    who finds such a mistake must not stop the service by sending it twenty times.
    """
    if code == Overloaded.code and stage == ImageError.stage:  # no process for decoding can be started
        return Evidence(code, _host(url), network=True, decoder=False)
    if code in SAYS_NOTHING:
        return Evidence(code)
    place = _host(url)
    if code is None:
        return _all_well(place, not recalled)
    if not foreseen:
        return Evidence(code, place, network=True)
    if code == ModelFailed.code:
        return Evidence(code, place, network=True, decoder=True, model=False)
    if stage == ImageError.stage:  # whatever the code is, the network brought it; one that took too long says no more
        return Evidence(code, place, network=True, decoder=True if code != FetchTimeout.code else None)
    failed = code in NETWORK_FAILED or (code == DnsFailed.code and retriable)
    return Evidence(code, place, network=not failed)


@lru_cache(maxsize=1024)
def _all_well(place: str, asked: bool) -> Evidence:
    """The usual ones, not made anew for each event."""
    return Evidence(None, place, network=True, decoder=True if asked else None, model=True if asked else None)


def _host(url: str) -> str:
    """Whose trouble it may be: need not be exact, must be cheap, takes any text.

    Without its port: five dead ports of one machine are one machine's trouble, and one that answers shows that the
    way there is open.
    """
    found = _HOST.match(url)
    return found[1].lower() if found else ""


class _Place(NamedTuple):  # made for each event: quicker than a frozen dataclass
    failures: int  # since it worked
    code: str | None  # of the last one
    at: float  # when it was heard of last


class Breaker:
    """See the module's text. Not thread-safe: it belongs to the stream's thread.

    Args:
        deadline_s: how long a fetch takes at most.
    """

    def __init__(self, deadline_s: float = 10.0) -> None:
        self._good_for_s = GOOD_FOR_DEADLINES * deadline_s
        self._places: dict[str, _Place] = {}
        self._network_run = 0
        self._decoder_run = 0
        self._model_run = 0
        self._worked_at = -math.inf  # when anything was reached last
        self._patience = 1
        self._failing: set[str] = set()  # the places that failed when it opened last, and since
        self._dead: str | None = None  # a place that was given up
        self.cause: Cause | None = None
        """Why it is open; null while it is closed."""
        self.opened_at = 0.0
        self.reason = ""
        """The same in words, without anything out of an event."""
        self.failed_probes = 0
        """In a row."""
        self.probe_at = 0.0
        """When the next probe may begin."""
        # Why it opened, and for how many probes, while the network hides whether that holds.
        self._hidden: tuple[Cause, str, int] | None = None
        self._probe: Hashable | None = None
        self._probes: Counter[Hashable] = Counter()

    @property
    def probing(self) -> bool:
        """Whether a probe is under way."""
        return self._probe is not None

    @property
    def hopeless(self) -> bool:
        """Whether only a new process may help."""
        return self.cause not in (None, "network") and self.failed_probes >= HOPELESS_PROBES

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
        if told.place == self._dead and told.network is not None:
            if told.network:
                self._dead = None
            else:
                told = Evidence(told.code)
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
        return self._probed(self.cause, event, told, now)

    def doubtful(self, told: Evidence, now: float) -> bool:
        """Whether a failure that counts is to be believed after `DOUBT_S` only.

        One that took the whole deadline is not, if others were reached meanwhile: it has held its
        partition for as long as any event may.
        """
        waited = told.code == FetchTimeout.code and now - self._worked_at < DOUBT_S
        return told.ours and self.cause is None and not waited

    def probe(self, event: Hashable) -> None:
        """This event is being worked on to find out."""
        self._probe = event

    def abandoned(self) -> None:
        """The probe under way will not come to an end: its partition was taken away."""
        self._probe = None

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _probed(self, cause: Cause, event: Hashable, told: Evidence, now: float) -> bool:
        """What a probe came to; the answer is that of `finished`."""
        passed: dict[Cause, bool | None] = {
            "network": told.network,
            "decoder": told.decoder,
            "model": told.model,
        }
        if passed[cause] and self._hidden is not None and not passed[self._hidden[0]]:
            (self.cause, self.reason, self.failed_probes), self._hidden = self._hidden, None
        elif passed[cause]:
            self._close()
            self._note(told, now)
            self.cause = self._judge(now) if told.ours else None
            if self.cause is not None:
                self._open(self.cause, now)
            return self.cause is None
        if not told.ours:  # it says nothing, so the next may begin at once
            self.probe_at = now
            return True
        if told.network is False and cause != "network":  # one trouble does not rule out another
            self._hidden, self.failed_probes = (cause, self.reason, self.failed_probes), 0
            self.cause, self.reason = "network", f"a probe failed: {told.code}"
        if told.network is False:
            self._failing.add(told.place)
            if len(self._failing) == 1 and now - self.opened_at > GIVE_UP_S:
                self._dead = told.place
                self._close()
                return True
        self.failed_probes += 1
        self.probe_at = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self.failed_probes, 10))
        self._probes[event] += 1
        if self._probes[event] < PROBES_EACH or self.cause != "network":
            return False
        del self._probes[event]
        return True

    def _note(self, told: Evidence, now: float) -> None:
        if told.decoder is not None:
            self._decoder_run = 0 if told.decoder else self._decoder_run + 1
        if told.model is not None:
            self._model_run = 0 if told.model else self._model_run + 1
        if told.network is not None:
            known = self._places.pop(told.place, None)  # and to the end: the order is of hearing
            failures = 0 if told.network else 1 + (known.failures if known else 0)
            self._places[told.place] = _Place(failures, told.code, now)
            if len(self._places) > PLACES:
                del self._places[next(iter(self._places))]
            self._network_run = 0 if told.network else self._network_run + 1
            if told.network:
                self._worked_at = now
                if told.place in self._failing:
                    self._patience, self._failing = 1, set()

    def _judge(self, now: float) -> Cause | None:
        if self._model_run >= RUN:
            return "model"
        if self._decoder_run >= RUN:
            return "decoder"
        for name, place in list(self._places.items()):
            if now - place.at > (BAD_FOR_S if place.failures else self._good_for_s):
                del self._places[name]
        if now - self.opened_at > BAD_FOR_S:
            self._patience = 1
        bad = [place.failures for place in self._places.values() if place.failures]
        nearly_all = sum(bad) >= RUN * self._patience and len(bad) >= SHARE * len(self._places)
        silent = self._network_run >= LONG_RUN * self._patience and now - self._worked_at >= SILENCE_S
        return "network" if nearly_all or silent else None

    def _open(self, cause: Cause, now: float) -> None:
        self.opened_at, self.probe_at = now, now + FIRST_PAUSE_S
        self._failing = {name for name, place in self._places.items() if place.failures}
        if cause == "model":
            self.reason = f"the model failed for {self._model_run} events in a row"
            return
        if cause == "decoder":
            self.reason = f"no process for decoding could be started for {self._decoder_run} events in a row"
            return
        bad = Counter(str(place.code) for place in self._places.values() if place.failures)
        codes = ", ".join(f"{count} {code}" for code, count in bad.most_common())
        self.reason = f"nothing comes from {bad.total()} of {len(self._places)} hosts: {codes}"

    def _close(self) -> None:
        if self.cause == "network":
            self._patience = min(MOST_PATIENCE, 2 * self._patience)
        self.cause, self.failed_probes, self.reason = None, 0, ""
        self._hidden = None
        self._network_run = 0  # the runs of the others end with what works there, and not with another's outage
        self._places.clear()
        self._probes.clear()
