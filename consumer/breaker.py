"""The breaker: tells failures that may be ours from those that are the events' own.

Without it, an hour without a network turns a topic into dead letters: each event fails for a reason that
has nothing to do with it. It is told what every finished event says about the world that all of them
share (`Evidence`), and opens when hardly anything gets through::

              ┌─── something was reached ────┐
              ▼                              │
    ┌────► closed ─── many failed ───► suspecting ─── nobody is reached ───► open ── after a pause ──► probing
    │         └────────────── nearly all who were reached fail ───────────────▲ └──── the probe failed ──┘ │
    └───────────────────────────────────── the probe got through ──────────────────────────────────────────┘

Whoever asks it holds the intake back while it is open, keeps what failed for later, and sends single
events as probes. A pure state machine: no thread, no clock, time is passed in as monotonic seconds.

How it judges. One host that is down is that host's trouble, and every event of it fails; so not events are counted but
*places*: the hosts that events name. And whoever may publish can name dead hosts by the thousand; so certain is only
what those say who were reached before (`consumer.places`). The network is gone when `RUN` events failed and nearly all
of the places that were reached lately (`SHARE`) are among those that fail. If none was reached lately, `RUN` failures
in a row suffice.

Where so many fail in a row, and nearly all that were heard of, but hardly one of those that were reached lately, nobody
knows: they may not have been asked since, or be about to answer. Then it *suspects*, and asks: intake goes on, so that
whoever comes is asked, and nothing that fails is believed. As soon as anybody is reached, it was not the network, or it
is back; what failed meanwhile is worked on once more. If nobody is, then after three deadlines none was reached lately
any more, and it opens. So dead names pause nothing among hosts that are reached twice a minute; and an outage costs a
topic of very many hosts nothing either, since all that happens before it opens is that its events are tried once.

The model is one place of its own, and so is the machine that starts the processes which decode. Whether the resolver
is down needs no rule of its own: then each host fails, though one that keeps its connections open goes on until these
have their age (`consumer.fetching.connections`). What an event fails of by itself never opens it, see
`consumer.evidence`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from typing import Final, Literal

from consumer.errors import FetchTimeout
from consumer.evidence import Evidence
from consumer.places import REMEMBERED_S, Places

Cause = Literal["network", "decoder", "model"]

RUN: Final = 20
"""Failures that make a suspicion. Fewer say little: where one fetch finds that a host is down, all that stand in
its line fail at once. More would only be more dead letters in a topic that is too slow for `DOUBT_S`."""

SHARE: Final = 0.8
"""Of the places that were reached lately, how many must fail. Not all of them: where the resolver is down, a busy
host goes on over its open connections. One of two, or three of four, is not the network."""

LONG_RUN: Final = 100
SILENCE_S: Final = 1.5
"""So many failures in a row, and not one success for so long, make a suspicion whoever fails. Not a run alone:
thousands of events may stand in the line of one host, and fail at once."""

DOUBT_S: Final = 2.0
"""How long to wait before a failure that may be ours is believed. A host that refuses is given up after three
attempts, 0.7 s; so within this time it shows whether the others fail too."""

GOOD_FOR_DEADLINES: Final = 3
"""How long it is remembered that a place was reached, in fetch deadlines: healthy hosts must not be forgotten while
every thread waits for a dead one, and one that nobody asks for half a minute is no sign that the network is gone."""

MOST_PATIENCE: Final = 32
"""It opened, a probe got through, and the hosts that failed still do: then it was theirs. Each time, it takes twice
as many failures to open it again, up to so many times as many, until one of them works again or `REMEMBERED_S` is over.
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


class Breaker:
    """See the module's text. Not thread-safe: it belongs to the stream's thread.

    Args:
        deadline_s: how long a fetch takes at most.
    """

    def __init__(self, deadline_s: float = 10.0) -> None:
        self._places = Places(GOOD_FOR_DEADLINES * deadline_s)
        self._network_run = 0
        self._network_failed_at = -math.inf
        self._decoder_run = 0
        self._model_run = 0
        self._patience = 1
        self._failing: set[str] = set()  # the places that failed when it opened last, and since
        self._dead: str | None = None  # a place that was given up
        self.reached_at = -math.inf
        """When anything was reached last."""
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

    def suspects(self, now: float) -> bool:
        """Whether it is closed, and so many failed since anything was reached that it may be the network."""
        if self.cause is not None or self._network_run < RUN * self._patience:
            return False
        if self._network_run >= LONG_RUN * self._patience and now - self.reached_at >= SILENCE_S:
            return True
        heard = self._places.heard(now)
        return heard.against >= SHARE * heard.all

    def look(self, now: float) -> bool:
        """Whether it opens, since what it suspects became certain by the time that passed."""
        if not self.suspects(now):
            return False
        self.cause = self._judge(now)
        if self.cause is not None:
            self._open(self.cause, now)
        return self.cause is not None

    def doubtful(self, told: Evidence, now: float) -> bool:
        """Whether a failure that counts is to be believed after `DOUBT_S` only, and not while it `suspects`.

        One that took the whole deadline is not, if others were reached meanwhile: it has held its
        partition for as long as any event may.
        """
        waited = told.code == FetchTimeout.code and now - self.reached_at < DOUBT_S
        return told.ours and self.cause is None and not waited

    def worth_asking(self, place: str) -> bool:
        """Whether an event of this place tells more than others, now that it is open: it was reached before, and has
        not failed since."""
        return self.cause == "network" and self._places.was_reached(place)

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
            self._places.failed(told.place, told.code, now)
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
        if told.network:
            self._places.reached(told.place, now)
            self._network_run, self.reached_at = 0, now
            if told.place in self._failing:
                self._patience, self._failing = 1, set()
        elif told.network is False:
            self._places.failed(told.place, told.code, now)
            recent = now - self._network_failed_at <= REMEMBERED_S
            self._network_run, self._network_failed_at = 1 + (self._network_run if recent else 0), now

    def _judge(self, now: float) -> Cause | None:
        if self._model_run >= RUN:
            return "model"
        if self._decoder_run >= RUN:
            return "decoder"
        if now - self.opened_at > REMEMBERED_S:
            self._patience = 1
        known = self._places.known(now)
        many = max(known.failures, self._network_run) >= RUN * self._patience
        return "network" if many and known.against >= SHARE * known.all else None

    def _open(self, cause: Cause, now: float) -> None:
        self.opened_at, self.probe_at = now, now + FIRST_PAUSE_S
        failing = self._places.failing(now)
        self._failing = set(failing)
        if cause == "model":
            self.reason = f"the model failed for {self._model_run} events in a row"
            return
        if cause == "decoder":
            self.reason = f"no process for decoding could be started for {self._decoder_run} events in a row"
            return
        codes = ", ".join(f"{count} {code}" for code, count in Counter(failing.values()).most_common())
        self.reason = f"nothing comes from {len(failing)} of {len(failing) + self._places.well(now)} hosts: {codes}"

    def _close(self) -> None:
        if self.cause == "network":
            self._patience = min(MOST_PATIENCE, 2 * self._patience)
        self.cause, self.failed_probes, self.reason = None, 0, ""
        self._hidden = None
        self._network_run = 0  # the runs of the others end with what works there, and not with another's outage
        self._places.forgive()
        self._probes.clear()
