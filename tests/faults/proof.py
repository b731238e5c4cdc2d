"""The proof that the suite can fail: each rule of the service broken on purpose, until its scenario turns red."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumer.signals import StopRequest
from tests.faults.arena import Arena
from tests.faults.breakages import RULES
from tests.faults.feed import Size
from tests.faults.run import Run
from tests.faults.scenarios import BY_NAME

TRIES = (300, 300, 1_000, 3_000)
"""Events of one run after the other, each with other dice."""
STALL_S = 20.0
"""A broken rule may well stop the service: longer than any scenario stands still by itself."""

COLUMNS = ("rule, broken", "what it means", "scenario that turned red", "events it took", "what was counted")


@dataclass(frozen=True)
class Proof:
    """What a broken rule came to. ``found`` is empty if nothing turned red."""

    rule: str
    events: int
    found: dict[str, float]

    @property
    def cells(self) -> tuple[str, ...]:
        """Its line in the table."""
        rule = RULES[self.rule]
        told = ", ".join(f"{name.replace('_', ' ')} {number:g}" for name, number in self.found.items())
        return (self.rule, rule.meaning, rule.found_by, f"{self.events}", told or "nothing: NOT FOUND")


def prove(
    arena: Arena, rule: str, *, asked: StopRequest | None = None, tell: Callable[[int, int], None] = lambda _, __: None
) -> Proof:
    """Runs the rule's scenario with it broken, until it is red."""
    events = 0
    for seed, most in enumerate(TRIES, 1):
        run = Run(
            arena,
            BY_NAME[RULES[rule].found_by],
            Size(most, 200.0, STALL_S),
            seed=seed,
            broken=rule,
            asked=asked,
            tell=tell,
        )
        report = run.execute()
        events += report.events
        if report.harm:
            return Proof(rule, events, report.harm)
        if asked is not None and asked.is_set():
            break
    return Proof(rule, events, {})
