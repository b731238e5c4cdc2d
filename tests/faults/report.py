"""What came of one run of a scenario, and whether that is as it should be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tests.faults.scenarios import Scenario
from tests.faults.tally import Counts

IN_FLIGHT = 200
"""What one instance takes in before it waits: 8 fetches and two batches of 16 at work, four times that queued.
Under at-least-once a fault may double so much of each instance that it hits."""


@dataclass
class Report:
    """What came of a run.

    Attributes:
        counts: see there.
        aborted: records that are in the log and were never to be seen.
        faults: how often something was done.
        crashes: exit codes of instances that ended by themselves, and were started again.
        measures: named times in seconds.
        seconds: what it all took.
        last_words: of those, what they said last.
        logs: where something is bad, the events concerned and the end of each instance's log.
    """

    scenario: Scenario
    seed: int
    events: int
    counts: Counts
    aborted: int
    faults: int
    crashes: list[int]
    measures: dict[str, list[float]]
    seconds: float
    last_words: list[str] = field(default_factory=list)
    logs: str = ""

    @property
    def bad(self) -> dict[str, float]:
        """Everything that should not be; empty is green."""
        cheap = self.scenario.delivery == "at-least-once"
        found: dict[str, float] = dict(self.counts.bad(may_double=cheap))
        if cheap and self.counts.doubled > IN_FLIGHT * self.scenario.instances * self.faults:
            found["doubled"] = self.counts.doubled
        if 1 in self.crashes:
            found["unexpected ends"] = self.crashes.count(1)
        for name, bound in self.scenario.bounds.items():
            worst = max(self.measures.get(name, [math.inf]))
            if worst > bound:
                found[name] = round(worst, 2)
        return found

    def told(self) -> str:
        """In one line."""
        parts = [f"silence {self.counts.silence_s:.1f} s", f"{self.aborted} aborted records"]
        if self.counts.doubled:
            parts.append(f"{self.counts.doubled} doubled")
        if self.crashes:
            parts.append(f"ended by themselves with {self.crashes}")
        parts += self.last_words
        parts += [f"{name} {'/'.join(f'{one:.2f}' for one in of[:12])} s" for name, of in sorted(self.measures.items())]
        verdict = f"NOT AS IT SHOULD BE: {self.bad}" if self.bad else "as it should be"
        return (
            f"{self.scenario.name}, seed {self.seed}: {self.events} events, {self.faults} faults in "
            f"{self.seconds:.0f} s: {', '.join(parts)}: {verdict}"
        )
