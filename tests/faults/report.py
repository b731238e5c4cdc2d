"""What came of one run of a scenario, and whether that is as it should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median_high

from tests.faults.feed import AHEAD
from tests.faults.scenarios import LONGEST_SILENCE, Scenario
from tests.faults.tally import Counts

MOST_DOUBLED = AHEAD
"""Under at-least-once a fault may double what is published and not yet answered, of all instances together: an
instance itself takes in more, 4 096 events, before it waits, but the publisher holds still before that."""


@dataclass
class Report:
    """What came of a run.

    Attributes:
        counts: see there.
        aborted: records that are in the log and were never to be seen.
        faults: how often something was done, what instances did to themselves included.
        crashes: exit codes but 0, of instances that ended by themselves or were asked to; SIGKILL of ours apart, and
            what `Scenario.excuses`.
        happened: what instances did to themselves → how often, see `tests.faults.journal`.
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
    happened: Mapping[str, int]
    measures: dict[str, list[float]]
    seconds: float
    last_words: list[str] = field(default_factory=list)
    logs: str = ""

    @property
    def bad(self) -> dict[str, float]:
        """Everything that should not be; empty is green. A fault that did not happen is bad too."""
        missing = [what for what in self.scenario.must_happen if not self.happened.get(what)]
        return self.harm | {f"never {what}": 1 for what in missing}

    @property
    def harm(self) -> dict[str, float]:
        """What the service did that it should not have."""
        cheap = self.scenario.delivery == "at-least-once"
        found: dict[str, float] = dict(self.counts.bad(may_double=cheap))
        if cheap and self.counts.doubled > MOST_DOUBLED * self.faults:
            found["doubled"] = self.counts.doubled
        if self.crashes:
            found["unexpected ends"] = len(self.crashes)
        measures = {**self.measures, LONGEST_SILENCE: [self.counts.silence_s]}
        for name, bound in self.scenario.bounds.items():
            usual = median_high(measures.get(name, [math.inf]))  # one that is late may be the machine's
            if usual > bound:
                found[name] = round(usual, 2)
        return found

    def told(self) -> str:
        """In one line."""
        parts = [f"silence {self.counts.silence_s:.1f} s", f"{self.aborted} aborted records"]
        if self.counts.doubled:
            parts.append(f"{self.counts.doubled} doubled")
        if self.crashes:
            parts.append(f"ended with {self.crashes}")
        parts += self.last_words
        parts += [f"{name} {'/'.join(f'{one:.2f}' for one in of[:12])} s" for name, of in sorted(self.measures.items())]
        verdict = f"NOT AS IT SHOULD BE: {self.bad}" if self.bad else "as it should be"
        return (
            f"{self.scenario.name}, seed {self.seed}: {self.events} events, {self.faults} faults in "
            f"{self.seconds:.0f} s: {', '.join(parts)}: {verdict}"
        )
