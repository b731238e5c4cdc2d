"""The breaker: tells failures that may be ours from those that are the events' own.

Without it, an hour without a network turns a topic into dead letters: each event fails for a reason that
has nothing to do with it. It is told what every finished event says about the world that all of them
share (`Evidence`), and opens when hardly anything gets through::

              ┌─ a host can be reached ─┐
              ▼                         │
    ┌────► closed ── many failed ──► suspecting ── no host can be reached ──► open ── after a pause ──► probing
    │                                                                          ▲                        │   │
    │                                                                          └──── the probe failed ──┘   │
    └──────────────────────────────────── the probe got through ────────────────────────────────────────────┘

Whoever asks it holds the intake back while it is open, keeps what failed for later, and sends single
events as probes. A pure state machine: no thread, no clock, time is passed in as monotonic seconds.

When many fail it may be the network (`consumer.suspicion`), or theirs. So it asks: can the hosts be reached that were
reached before? That takes a new connection to each, resolver and TLS included, and no request. Meanwhile intake goes
on, and nothing that fails is believed. If one can be reached, it was not the network, or it is back, and what failed
meanwhile is worked on once more. If none can, or none was reached before, it opens. While it is open they are asked
again before each probe.

The model is one place of its own, and so is the machine that starts the processes which decode: `RUN` failures in a row
open it. What an event fails of by itself never does, see `consumer.evidence`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Final, Literal

from consumer.errors import FetchTimeout
from consumer.evidence import Evidence
from consumer.suspicion import RUN, Suspicion

Cause = Literal["network", "decoder", "model"]

DOUBT_S: Final = 2.0
"""How long to wait before a failure that may be ours is believed. A host that refuses is given up after three
attempts, 0.7 s; so within this time it shows whether the others fail too."""

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
        self._network = Suspicion(deadline_s)
        self._decoder_run = 0
        self._model_run = 0
        self._failing: set[str] = set()  # the places that failed when it opened, and since
        self._dead: str | None = None  # a place that was given up
        self._asked: set[str] = set()  # hosts that have not answered yet
        self._asks_next = True  # while it is open: whether hosts are asked before the next probe
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
    def suspects(self) -> bool:
        """Whether it is closed, and it may be the network that so much fails."""
        return self.cause is None and self._network.holds

    @property
    def asking(self) -> bool:
        """Whether hosts were asked that have not answered yet."""
        return bool(self._asked)

    @property
    def reached_at(self) -> float:
        """When anything was reached last."""
        return self._network.reached_at

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
            if not self._network.holds:
                self._asked = set()
            return not (told.ours and self._opens(now))
        if event != self._probe:  # begun before it opened
            return not told.ours
        self._probe = None
        return self._probed(self.cause, event, told, now)

    def to_ask(self, now: float) -> dict[str, str]:
        """Hosts of which it wants to know now whether they can be reached, and their URLs; each is `answered` once.

        To be called at every turn.
        """
        if self.cause is None:
            due = self._network.is_to_be_asked_about(now)
        else:
            due = self.cause == "network" and self._asks_next and now >= self.probe_at
        if not due or self._asked:
            return {}
        self._asks_next = False
        chosen = self._network.witnesses(failing_too=self.cause is not None)
        self._asked = set(chosen)
        return chosen

    def answered(self, host: str, told: Evidence, now: float) -> None:
        """What is known of a host that was asked; of those that are no longer of interest nothing is made."""
        if host not in self._asked:
            return
        self._asked.remove(host)
        if self.cause is None:
            self._note(told, now)
        if told.network:
            self._asked = set()
        if self._asked:
            return
        if self.cause is None:
            if told.network:
                self._network.refuted(now)
            else:
                self._open("network", now)
        elif told.network:
            self._probed(self.cause, host, told, now)

    def doubtful(self, told: Evidence, now: float) -> bool:
        """Whether a failure that counts is to be believed after `DOUBT_S` only, and not while it `suspects`.

        One that took the whole deadline is not, if others were reached meanwhile: it has held its
        partition for as long as any event may.
        """
        waited = told.code == FetchTimeout.code and now - self.reached_at < DOUBT_S
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
            self._close(now)
            self._note(told, now)
            return not (told.ours and self._opens(now))
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
                self._close(now)
                return True
        self._asks_next = True
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
        self._network.note(told, now)

    def _opens(self, now: float) -> bool:
        if self._model_run >= RUN:
            self._open("model", now)
        elif self._decoder_run >= RUN:
            self._open("decoder", now)
        elif self._network.holds and not self._network.witnesses():
            self._open("network", now)
        return self.cause is not None

    def _open(self, cause: Cause, now: float) -> None:
        self.cause, self.opened_at, self.probe_at = cause, now, now + FIRST_PAUSE_S
        self._failing = set(self._network.failing(now))
        self._asked, self._asks_next = set(), True
        self.reason = {
            "model": f"the model failed for {self._model_run} events in a row",
            "decoder": f"no process for decoding could be started for {self._decoder_run} events in a row",
            "network": self._network.told(now),
        }[cause]

    def _close(self, now: float) -> None:
        self._network.refuted(now)
        self.cause, self.failed_probes, self.reason = None, 0, ""
        self._hidden = None
        self._asked = set()
        self._probes.clear()
