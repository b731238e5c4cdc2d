"""What at-least-once promises of doubles: an outcome comes twice only if its offset was not committed before.

Nothing here is counted against a budget of excuses; each second coming must have its reason:

- an outcome that was published well in one assignment of its partition is not published in it again;
- nothing is published while offsets have been owed for longer than `OWED_S`, so that a crash doubles no more
  than what was published since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from consumer.stream.at_least_once import OWED_S
from consumer.stream.protocol import Claim, Publish, Published, Result
from consumer.stream.publisher import Publisher

Terms = Callable[[], Mapping[int, int]]
Committed = Callable[[int], int]


class WatchedPublisher:
    """A publisher whose every answer is looked at.

    Args:
        terms: see `consumer.stream.source.Source.terms`.
        committed: the furthest offset of a partition that was ever committed.
        stops: how often the process was stopped so far: what a stop delays is nobody's fault.
        complain: told of each breach.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        terms: Terms,
        committed: Committed,
        stops: Callable[[], int],
        clock: Callable[[], float],
        complain: Callable[[str], None],
    ) -> None:
        self._publisher = publisher
        self._terms = terms
        self._committed = committed
        self._stops = stops
        self._clock = clock
        self._complain = complain
        self._done: dict[Claim, tuple[float, int, int]] = {}
        """Published well: when, in which term, after how many stops."""
        self.start = publisher.start
        self.tend = publisher.tend
        self.abort_hanging = publisher.abort_hanging
        self.replace = publisher.replace
        self.close = publisher.close

    def publish(self, publication: Publish, budget_s: float) -> Published:
        terms, now, stops = self._terms(), self._clock(), self._stops()
        for claim in publication.claims:
            if claim in self._done:
                self._complain(f"published again: {claim.partition}-{claim.offset}, in the same assignment")
        owed_s = [
            now - at
            for claim, (at, term, before) in self._done.items()
            if terms.get(claim.partition) == term
            and before == stops
            and self._committed(claim.partition) <= claim.offset
        ]
        answer = self._publisher.publish(publication, budget_s)
        if answer.result is Result.COMMITTED:
            if owed_s and max(owed_s) > OWED_S:
                self._complain(f"owed: published on although offsets are owed for {max(owed_s):.1f} s")
            ended = self._clock(), self._stops()
            for claim in publication.claims:
                if claim.partition in terms:
                    self._done[claim] = ended[0], terms[claim.partition], ended[1]
        return answer
