"""What the breaker means for the stream: doubt, and when it opens: hold, put back, probe, go on.

A failure that may be ours is believed after `DOUBT_S` only, and not while the breaker suspects the network. If it
opens before that, the event is put back into the queue; its record is still in the ledger. If something is reached
instead, an event's host or one that was asked, the event is put back too, but once only: then its failure is its own.

While it is open nothing begins, the queue fills and the partitions are paused; they go on being polled, so that the
group keeps this member. What fails of ours then is put back too. One event at a time goes out as a probe, once nothing
else is in flight, so that no straggler of the time before is taken for an answer.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection

from consumer.breaker import DOUBT_S, Breaker, Cause
from consumer.errors import FatalError, FetchTimeout
from consumer.evidence import Evidence
from consumer.failures import RecentFailures
from consumer.health import Health
from consumer.records import Outcome
from consumer.stream.core import StreamCore
from consumer.stream.protocol import Claim, Submit
from consumer.stream.questions import Ask, Questions

log = logging.getLogger(__name__)

GOLDEN = 0.6180339887
"""Where in the queue the next probe is taken from, as a fraction of the queue, one after the other and modulo 1:
multiples of the golden ratio spread evenly from the first one on. If a run of events of one dead host stands
at the front, the second probe jumps over it."""

NOTHING = Evidence(None)


class Probing:
    """Stands between finished work and the core. Belongs to the stream's thread."""

    def __init__(
        self,
        breaker: Breaker,
        core: StreamCore,
        health: Health,
        failures: RecentFailures,
        ask: Ask | None = None,
    ) -> None:
        self._breaker = breaker
        self._core = core
        self._health = health
        self._failures = failures
        self._questions = Questions(ask)
        self._doubtful: deque[tuple[float, Claim, Outcome]] = deque()  # in the order in which they are believed
        self._second: dict[Claim, bool] = {}  # who is worked on once more if it fails, and (false) who was
        self._excused: set[Claim] = set()  # whose failure tells nothing, not even the breaker
        self._ending = False
        self._probes = 0  # since it opened

    @property
    def doubted(self) -> int:
        """How many of the events in flight have failed, and wait until that is believed."""
        return len(self._doubtful)

    def finished(self, claim: Claim, outcome: Outcome, now: float) -> None:
        """An event has been worked on: hands it to the core, now or later, as finished or to be done once more."""
        breaker = self._breaker
        told = outcome.evidence or NOTHING
        if claim in self._excused:
            self._excused.remove(claim)
            if told.ours or told.code == FetchTimeout.code:  # the deadline may have passed in its decoder
                self._core.put_back(claim)
                return
        before = breaker.cause, breaker.suspects, breaker.reached_at
        counts = breaker.finished(claim, told, now)
        if not counts:
            self._core.put_back(claim)
        elif told.ours and self._second.get(claim):
            self._once_more(claim)
        elif breaker.doubtful(told, now):
            self._doubtful.append((now + DOUBT_S, claim, outcome))
        else:
            if told.ours and before[0] is not None:
                log.warning("the event at %d-%d failed as a probe again and again", claim.partition, claim.offset)
            self._believe(claim, outcome)
        self._follow(*before, now, got_through=not told.ours)

    def stood_still(self, seconds: float) -> None:
        """This process stood still for so long. Deadlines passed meanwhile, and no host is to blame: what has begun is
        worked on once more if it fails."""
        in_flight = self._core.claims_in_flight()
        what = f"{len(in_flight)} events in flight are worked on once more if they fail"
        log.warning("this process stood still for %.1f s (stopped, or its machine was): %s", seconds, what)
        self._excused.update(in_flight)

    def put_back(self, partitions: Collection[int]) -> None:
        """These partitions are taken away: what is doubted of them is left to their next owner."""
        staying = deque(one for one in self._doubtful if one[1].partition not in partitions)
        for _, claim, _ in self._doubtful:
            if claim.partition in partitions:
                self._core.put_back(claim)
        self._doubtful = staying
        self._second = {claim: due for claim, due in self._second.items() if claim.partition not in partitions}
        self._excused = {claim for claim in self._excused if claim.partition not in partitions}

    def stop(self) -> None:
        """Leaves all that is doubted to the next owner, and whatever fails while the network is suspected."""
        self._ending = True
        self.put_back(self._core.partitions)

    def settle(self, now: float) -> None:
        """Believes what has been doubted for long enough, unless it may be the network."""
        if self._breaker.suspects:
            if self._ending:
                self.put_back(self._core.partitions)
            return
        while self._doubtful and self._doubtful[0][0] <= now:
            _, claim, outcome = self._doubtful.popleft()
            self._believe(claim, outcome)

    def ask(self, now: float) -> None:
        """Asks the hosts that the breaker wants to know of, and tells it what they answered."""
        breaker = self._breaker
        for host, told in self._questions.answers():
            before = breaker.cause, breaker.suspects, breaker.reached_at
            breaker.answered(host, told, now)
            self._follow(*before, now, got_through=not told.ours)
        self._questions.ask(breaker.to_ask(now))

    def probes(self, now: float) -> list[Submit]:
        """The probe that is to go out now, if one is.

        Raises:
            FatalError: the model is broken; a new process loads it again.
        """
        breaker = self._breaker
        if breaker.cause is None:
            return []
        if breaker.hopeless:
            raise FatalError(f"{breaker.reason}, and for {breaker.failed_probes} probes: a restart may cure it")
        if self._core.in_flight or breaker.asking or now < breaker.probe_at:
            return []
        breaker.abandoned()  # nothing is in flight: if there was a probe, its partition was taken away
        submits = self._core.probe(self._probes * GOLDEN % 1)
        for one in submits:
            self._probes += 1
            breaker.probe(one.claim)
        return submits

    def _follow(self, was: Cause | None, suspected: bool, reached_at: float, now: float, *, got_through: bool) -> None:
        """Does what follows from what the breaker has just been told, by what it was before."""
        breaker = self._breaker
        if breaker.cause is not None:
            self._opened(new=was is None, now=now)
        elif was is not None:
            self._closed(now, got_through=got_through)
        elif suspected and not breaker.suspects:
            self._cleared(silent_s=now - reached_at)

    def _believe(self, claim: Claim, outcome: Outcome) -> None:
        self._second.pop(claim, None)
        self._core.finished(claim, outcome)
        if outcome.failed:
            self._failures.note(outcome.failed)

    def _cleared(self, silent_s: float) -> None:
        """The network is there, or back: what failed meanwhile is worked on once more.

        After a silence that was long, so is what has begun and will fail because of it: it waited for a thread, or for
        an answer. After a burst of failures it is not: that would be twice the deadline for events of a dead host.
        """
        had = deque(one for one in self._doubtful if one[1] in self._second)
        for _, claim, _ in self._doubtful:
            if claim not in self._second:
                self._once_more(claim)
        self._doubtful = had
        if silent_s >= DOUBT_S:
            for claim in self._core.claims_in_flight():
                self._second.setdefault(claim, True)

    def _once_more(self, claim: Claim) -> None:
        self._second[claim] = False
        self._core.put_back(claim)

    def _opened(self, *, new: bool, now: float) -> None:
        breaker = self._breaker
        if new:
            self._probes = 0
            self._core.hold()
            while self._doubtful:
                self._core.put_back(self._doubtful.popleft()[1])
            log.warning("intake is paused, single events probe whether it can go on: %s", breaker.reason)
        text = f"intake is paused: {breaker.reason}"
        if breaker.failed_probes:
            wait_s = breaker.probe_at - now
            text += f"; {breaker.failed_probes} probes failed, the next one comes {wait_s:.0f} s after the last"
        self._health.hold("breaker", text)

    def _closed(self, now: float, *, got_through: bool) -> None:
        self._core.release()
        self._health.release("breaker")
        what = "a probe got through" if got_through else "the only host that fails counts as dead"
        log.warning("%s after %.0f s: intake goes on", what, now - self._breaker.opened_at)
