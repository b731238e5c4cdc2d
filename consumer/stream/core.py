"""The heart of the service as a deterministic state machine.

It is told what happened (assignments, records, finished work, the broker's answers, the time) and
says what to do next (`StreamCore.actions`). It holds no thread, socket or clock, so the very same
core runs on Apache Kafka, on the embedded broker and in a simulated world.

::

    assigned ─► received ─► Submit … finished ─► Publish … published ─► released
                   │  Pause / Resume by what is held            └─ unknown ─► Resolve … resolved

Rules that everything rests on:

- Only the contiguous finished front of a partition is published, and the offset that is committed
  with it is one past the front.
- One publication at a time. Its outcomes stay in the ledger until the broker's answer is known; an
  aborted publication is published again from the ledger, without fetching anything twice.
- A claim carries the tenure of its partition. Work finished for an earlier tenure is dropped.

Whether a partition is fetched from is `consumer.stream.flow`'s, when the next publication begins
`consumer.stream.pace`'s to say.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from consumer.records import Outcome, Record
from consumer.stream.flow import Flow
from consumer.stream.ledger import Entry, Ledger, Stand
from consumer.stream.limits import Limits
from consumer.stream.pace import Pace
from consumer.stream.protocol import Action, Claim, Halt, Publish, Published, Resolve, Result, Submit

GLANCE_S = 0.02
"""How often it is looked whether a quick event has finished, while those wait that took long."""


class StreamCore:
    """See the module's text. All times are monotonic seconds, passed in by the caller."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ledgers: dict[int, Ledger] = {}
        self._tenure = 0
        self._queue: deque[Claim] = deque()  # arrival order over all partitions
        self._queued = 0
        self._in_flight = 0
        self._leaving: frozenset[int] = frozenset()
        self._flow = Flow(limits)
        self._pace = Pace(limits)
        self._on_hold = False
        self._publication: Publish | None = None
        self._unresolved = False
        self._asked = False  # a Resolve was given out and not answered
        self._stopping = False
        self._halt: str | None = None

    # ── what happened: partitions ────────────────────────────────────────────────────────────────

    def assigned(self, partitions: Iterable[int]) -> None:
        """These partitions are ours from now on, beginning at their committed offsets."""
        for partition in partitions:
            self._forget(partition)
            self._tenure += 1
            self._ledgers[partition] = Ledger(partition, self._tenure)
            self._flow.assigned(partition)

    def revoking(self, partitions: Collection[int]) -> None:
        """These partitions will be taken away: begin nothing new in them, publish what is finished now."""
        self._leaving = self._leaving | {p for p in partitions if p in self._ledgers}

    def revoked(self, partitions: Iterable[int]) -> list[Claim]:
        """These partitions are gone; what is not committed is somebody else's to do.

        Returns:
            The claims that were in flight: their work may be cancelled.
        """
        dropped = [claim for partition in partitions for claim in self._forget(partition)]
        if self._publication and not self._mine(self._publication):
            self._settle()
        return dropped

    # ── what happened: events ────────────────────────────────────────────────────────────────────

    def received(self, records: Iterable[Record], now: float) -> None:
        """These records came out of the topic. Those of a partition that is not ours are dropped.

        So are all of them after `stop`: nothing begins any more, and their next owner finds them uncommitted.
        """
        for record in records if not self._stopping else ():
            ledger = self._ledgers.get(record.partition)
            if ledger is None or ledger.accept(record, now) is None:
                continue
            self._queue.append(Claim(record.partition, ledger.tenure, record.offset))
            self._queued += 1

    def finished(self, claim: Claim, outcome: Outcome) -> None:
        """The work on a claim is done. Work for an earlier tenure is dropped."""
        ledger = self._of(claim)
        if ledger is None:
            return
        ledger.finish(claim.offset, outcome)
        self._in_flight -= 1

    def put_back(self, claim: Claim) -> None:
        """The work on a claim came to nothing: it waits to be worked on again, behind all the others."""
        ledger = self._of(claim)
        if ledger is None:
            return
        ledger.put_back(claim.offset)
        self._in_flight -= 1
        if not self._stopping:  # then nothing begins any more, and its next owner finds it uncommitted
            self._queue.append(claim)
            self._queued += 1

    # ── what happened: there is no sense in going on ─────────────────────────────────────────────

    def hold(self) -> None:
        """Begins nothing but probes, until `release`; so intake ends when the queue is full.

        What is finished is published. Intake goes on up to there, because an event of another host
        may be what tells how things are.
        """
        self._on_hold = True

    def release(self) -> None:
        """Goes on after `hold`, at full width."""
        self._on_hold = False

    def probe(self, at: float) -> list[Submit]:
        """Begins one of the events that wait, although intake is on hold.

        Args:
            at: which one: 0 is the first of the queue, 1 (not included) its end.
        """
        if not self._queue or self._leaving:
            return []
        index = int(at * len(self._queue))
        claim = self._queue[index]
        del self._queue[index]
        return [self._begin(claim)]

    # ── what happened: the broker's answers ──────────────────────────────────────────────────────

    def published(self, answer: Published, now: float) -> list[Entry]:
        """The broker's answer to the publication under way.

        Returns:
            The entries that were released by it.
        """
        publication = self._publication
        if publication is None:
            raise ValueError("no publication is under way")
        if answer.result is Result.UNKNOWN:
            self._unresolved = True
            self._pace.failed(now)
            return []
        self._publication = None
        if answer.result is Result.COMMITTED:
            return self._released(publication, publication.offsets, now)
        if answer.result is Result.FENCED:
            self._halt = answer.reason or "fenced by a newer instance of the same name"
            return []
        for claim in answer.rejected:
            ledger = self._of(claim)
            if ledger is not None and not ledger.reduce(claim.offset):
                self._halt = (
                    f"the outcome of {claim.partition}-{claim.offset} is too large to publish, even in its "
                    f"smallest form ({ledger.told_sizes(claim.offset)}): raise max.message.bytes of that topic"
                )
        if not answer.rejected and not answer.narrowed:
            self._pace.failed(now)
        return []

    def resolved(self, committed: Mapping[int, int] | None, now: float) -> list[Entry]:
        """What the broker holds as committed after a `Resolve`; null if it could not be asked.

        A publication is one transaction, so it is there as a whole or not at all. It is judged by
        partition all the same: where the committed offset reached ours, the outcomes are out.

        Returns:
            The entries that were released by it.
        """
        publication = self._publication
        self._asked = False
        if committed is None or publication is None:
            self._pace.failed(now)
            return []
        self._settle()
        done = {p: offset for p, offset in publication.offsets.items() if committed.get(p, -1) >= offset}
        if not done:
            self._pace.failed(now)
            return []
        return self._released(publication, done, now)

    def stop(self) -> list[Claim]:
        """Begin nothing new; what is in flight may finish and be published.

        Returns:
            The claims in flight.
        """
        self._stopping = True
        self._queue.clear()
        self._queued = 0
        return self.claims_in_flight()

    # ── what to do ───────────────────────────────────────────────────────────────────────────────

    def actions(self, now: float) -> list[Action]:
        """What is to be done now. Each action is given out once; call again after the next news."""
        if self._halt is not None:
            return [Halt(self._halt)]
        actions: list[Action] = []
        if not self._leaving:  # inside a revocation only what leaves matters, and its callback must be short
            actions += self._submissions()
            actions += self._flow.changes(
                self._ledgers.values(), self._queued, on_hold=self._on_hold, stopping=self._stopping
            )
        publish = self._publish(now)
        if publish is not None:
            actions.append(publish)
        return actions

    def due(self, now: float) -> float:
        """Seconds until `actions` may have something new without any news; infinite if it will not."""
        if self._unresolved:
            return self._pace.left_s(now)
        return self._wait_s(now) if self._publication is None and any(self._fronts()) else math.inf

    def pause_s(self, now: float) -> float:
        """Seconds in which nothing is published, whatever finishes. While all that is finished took long, it is for
        `GLANCE_S` at most: a quick one that finishes meanwhile does not wait for those."""
        if self._hurry():
            return 0.0
        return self._pace.left_s(now) or min(GLANCE_S, self._wait_s(now))

    # ── what can be asked ────────────────────────────────────────────────────────────────────────

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that are ours."""
        return frozenset(self._ledgers)

    def claims_in_flight(self) -> list[Claim]:
        """The claims of the events being worked on."""
        return self._in_flight_of(self._ledgers)

    @property
    def in_flight(self) -> int:
        """Events being worked on."""
        return self._in_flight

    @property
    def held(self) -> int:
        """Events between their arrival and the commit of their outcome."""
        return sum(len(ledger) for ledger in self._ledgers.values())

    @property
    def unpublished(self) -> bool:
        """Whether outcomes could be published, or are being."""
        return self._publication is not None or any(self._fronts())

    @property
    def room(self) -> int:
        """How many records may be taken in now."""
        if self._stopping:
            return 0
        return max(0, self._limits.queued + self._limits.in_flight - self._queued - self._in_flight)

    def busy(self, partitions: Iterable[int] | None = None) -> bool:
        """Whether any of these partitions (of all) has work in flight or outcomes to publish."""
        chosen = self.partitions if partitions is None else self.partitions.intersection(partitions)
        return any(ledger.partition in chosen for ledger in self._fronts()) or bool(self._in_flight_of(chosen))

    @property
    def ledgers(self) -> list[Ledger]:
        """The ledgers of the partitions that are ours, to be looked at only."""
        return [self._ledgers[partition] for partition in sorted(self._ledgers)]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _submissions(self) -> list[Action]:
        actions: list[Action] = []
        while self._queue and self._in_flight < self._limits.in_flight and not self._on_hold:
            actions.append(self._begin(self._queue.popleft()))
        return actions

    def _begin(self, claim: Claim) -> Submit:
        self._queued -= 1
        self._in_flight += 1
        return Submit(claim, self._ledgers[claim.partition].start(claim.offset))

    def _publish(self, now: float) -> Action | None:
        if self._unresolved and self._publication:
            if self._asked or self._pace.left_s(now):
                return None
            self._asked = True
            return Resolve(tuple(self._publication.offsets))
        if self._publication or not any(self._fronts()) or self._wait_s(now):
            return None
        self._publication = self._gather()
        self._pace.began(len(self._publication.claims), now)
        return self._publication

    def _wait_s(self, now: float) -> float:
        """Seconds until what is finished is published."""
        if self._hurry():
            return 0.0
        arrived = max((ledger.entries[0].arrived for ledger in self._fronts()), default=math.inf)
        return max(self._pace.left_s(now), self._pace.late_s(arrived, now))

    def _hurry(self) -> bool:
        """Whether the pause between publications is waived: never after a failure."""
        return not self._pace.failing and (self._stopping or bool(self._leaving))

    def _gather(self) -> Publish:
        """The fronts of all partitions, up to the limits of one publication; leaving ones first, then the oldest: where
        the limits are small, nobody is left out for good."""
        claims: list[Claim] = []
        outcomes: list[Outcome] = []
        offsets: dict[int, int] = {}
        size = 0
        for ledger in sorted(
            self._fronts(), key=lambda ledger: (ledger.partition not in self._leaving, ledger.entries[0].arrived)
        ):
            for entry in ledger.front():
                if len(claims) >= self._pace.most or (claims and size >= self._limits.publish_bytes):
                    break
                assert entry.outcome is not None
                claims.append(Claim(ledger.partition, ledger.tenure, entry.offset))
                outcomes.append(entry.outcome)
                offsets[ledger.partition] = entry.offset + 1
                size += entry.size
        return Publish(tuple(claims), tuple(outcomes), offsets)

    def _fronts(self) -> Iterable[Ledger]:
        """The ledgers with something to release."""
        return (
            ledger for ledger in self._ledgers.values() if ledger.entries and ledger.entries[0].stand is Stand.FINISHED
        )

    def _released(self, publication: Publish, offsets: Mapping[int, int], now: float) -> list[Entry]:
        tenures = {claim.partition: claim.tenure for claim in publication.claims}
        gone: list[Entry] = []
        for partition, offset in offsets.items():
            ledger = self._ledgers.get(partition)
            if ledger is not None and ledger.tenure == tenures[partition]:
                gone += ledger.release(offset)
        self._pace.committed(now)
        return gone

    def _settle(self) -> None:
        """There is no publication under way any more."""
        self._publication, self._unresolved, self._asked = None, False, False

    def _of(self, claim: Claim) -> Ledger | None:
        """The ledger that a claim belongs to; null if its tenure is over."""
        ledger = self._ledgers.get(claim.partition)
        return ledger if ledger is not None and ledger.tenure == claim.tenure else None

    def _mine(self, publication: Publish) -> bool:
        return any(self._of(claim) is not None for claim in publication.claims)

    def _in_flight_of(self, partitions: Iterable[int]) -> list[Claim]:
        return [
            Claim(partition, self._ledgers[partition].tenure, entry.offset)
            for partition in partitions
            if partition in self._ledgers
            for entry in self._ledgers[partition].entries
            if entry.stand is Stand.IN_FLIGHT
        ]

    def _forget(self, partition: int) -> list[Claim]:
        """Drops a partition's ledger; gives the claims that were in flight."""
        in_flight = self._in_flight_of([partition])
        ledger = self._ledgers.pop(partition, None)
        if ledger is not None and not self._stopping:
            self._queued -= ledger.queued
        self._in_flight -= len(in_flight)
        self._queue = deque(claim for claim in self._queue if claim.partition != partition)
        self._flow.forget(partition)
        self._leaving -= {partition}
        return in_flight
