"""The words that the stream core and the world around it exchange.

The world tells the core what happened by calling its methods; the core answers with actions, which
the loop carries out. Everything here is plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from consumer.records import Outcome, Record


@dataclass(frozen=True, slots=True)
class Claim:
    """One piece of work: an event in one tenure of its partition."""

    partition: int
    tenure: int
    offset: int


# ── what the core asks for ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Submit:
    """Work on this record, and tell `StreamCore.finished` when it is done."""

    claim: Claim
    record: Record


@dataclass(frozen=True, slots=True)
class Pause:
    """Fetch no more from these partitions for now."""

    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Resume:
    """Fetch from these partitions again."""

    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish these outcomes and commit these offsets, together: all of it or nothing.

    ``offsets`` holds for each partition the offset to commit: one past the last outcome.
    Then tell `StreamCore.published`.
    """

    claims: tuple[Claim, ...]
    outcomes: tuple[Outcome, ...]
    offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Resolve:
    """Nobody knows whether the last `Publish` took effect.

    Replace the producer (which ends its transaction one way or the other), ask the broker for these
    partitions' committed offsets, and tell `StreamCore.resolved`.
    """

    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Halt:
    """End the process: it cannot go on, and a restart may cure it."""

    reason: str


Action = Submit | Pause | Resume | Publish | Resolve | Halt


# ── what became of a publication ─────────────────────────────────────────────────────────────────


class Result(Enum):
    """What became of a `Publish`."""

    COMMITTED = "committed"
    """Outcomes and offsets are there for good."""
    ABORTED = "aborted"
    """Nothing of it is there, for good: the same may be published again."""
    UNKNOWN = "unknown"
    """The answer was lost, or the producer broke: see `Resolve`."""
    FENCED = "fenced"
    """A newer instance has taken this one's name: it must end."""


@dataclass(frozen=True, slots=True)
class Published:
    """The answer to a `Publish`.

    ``rejected`` are claims whose messages are too large to publish; ``narrowed``: they are sent in another way from now
    on, so that nothing is won by a pause.
    """

    result: Result
    reason: str = ""
    rejected: tuple[Claim, ...] = ()
    narrowed: bool = False
