"""What an open breaker means for the stream: hold the intake, keep what failed, probe, go on.

While it is open all partitions are paused, and go on being polled, so that the group keeps this member.
What fails of a trouble of ours is put back into the queue; its record is still in the ledger. One event
at a time goes out as a probe, once nothing else is in flight, so that no straggler of the time before is
taken for an answer.
"""

from __future__ import annotations

import logging

from consumer.breaker import Breaker, Evidence
from consumer.errors import FatalError
from consumer.health import Health
from consumer.records import Outcome
from consumer.stream.core import StreamCore
from consumer.stream.protocol import Claim, Submit

log = logging.getLogger(__name__)

GOLDEN = 0.6180339887
"""Where in the queue the next probe is taken from, as a fraction of the queue, one after the other and modulo 1:
multiples of the golden ratio spread evenly from the first one on. If a run of events of one dead host stands
at the front, the second probe jumps over it."""

NOTHING = Evidence(None)


class Probing:
    """Stands between finished work and the core. Belongs to the stream's thread."""

    def __init__(self, breaker: Breaker, core: StreamCore, health: Health) -> None:
        self._breaker = breaker
        self._core = core
        self._health = health
        self._probes = 0  # since it opened

    def finished(self, claim: Claim, outcome: Outcome, now: float) -> bool:
        """Hands finished work to the core; false if it is put back, to be worked on again."""
        breaker = self._breaker
        was = breaker.cause
        counts = breaker.finished(claim, outcome.evidence or NOTHING, now)
        if counts:
            self._core.finished(claim, outcome)
        else:
            self._core.put_back(claim)
        if breaker.cause is not None:
            self._opened(new=was is None, now=now)
            if was is not None and counts and outcome.evidence and outcome.evidence.ours:
                log.warning("the event at %d-%d failed as a probe again and again", claim.partition, claim.offset)
        elif was is not None:
            self._closed(now)
        return counts

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
        if self._core.in_flight or now < breaker.probe_at:
            return []
        breaker.abandoned()  # nothing is in flight: if there was a probe, its partition was taken away
        submits = self._core.probe(self._probes * GOLDEN % 1)
        for one in submits:
            self._probes += 1
            breaker.probe(one.claim)
        return submits

    def _opened(self, *, new: bool, now: float) -> None:
        breaker = self._breaker
        if new:
            self._probes = 0
            self._core.hold()
            log.warning("intake is paused, single events probe whether it can go on: %s", breaker.reason)
        text = f"intake is paused: {breaker.reason}"
        if breaker.failed_probes:
            wait_s = breaker.probe_at - now
            text += f"; {breaker.failed_probes} probes failed, the next one comes {wait_s:.0f} s after the last"
        self._health.hold("breaker", text)

    def _closed(self, now: float) -> None:
        self._core.release()
        self._health.release("breaker")
        log.warning("a probe got through after %.0f s: intake goes on", now - self._breaker.opened_at)
