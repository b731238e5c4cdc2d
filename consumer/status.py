"""What a person on call wants to see, as frozen data: the page and the JSON of ``/status`` show the same.

The stream's thread makes a new `StreamStatus` every second and the HTTP thread reads whichever is the newest,
so neither waits for the other. Points in time are milliseconds since the epoch: an age that is worked out
when it is shown stays true when the stream hangs and its last report grows old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.events import ModelInfo
from consumer.failures import FailedEvent


@dataclass(frozen=True, slots=True)
class HeldUp:
    """The event that holds a partition up: no later one's outcome is published before its own.

    ``since`` is when it was taken in. ``event_id`` and ``url``, masked, are null where it cannot be read, has
    only just come, or is finished and waits for the broker.
    """

    offset: int
    stand: str
    since: int
    event_id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition of ours.

    ``committed`` is the offset that was committed last since its assignment, ``lag`` the number of events whose
    outcome is not committed; both null while not known.
    """

    partition: int
    lag: int | None
    committed: int | None
    queued: int
    in_flight: int
    finished: int
    held_up: HeldUp | None


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The stream as it was ``at``.

    ``events``, ``failures`` (by code) and ``transactions`` (by result) count since the start; events and failures
    are counted when their outcome is committed.
    """

    at: int
    queued: int
    in_flight: int
    finished: int
    held_bytes: int
    partitions: tuple[PartitionStatus, ...]
    transactions: Mapping[str, int]
    events: Mapping[str, int]
    failures: Mapping[str, int]
    events_last_minute: int
    failures_last_minute: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why it is not alive or not ready, and for how many seconds."""

    name: str
    text: str
    for_s: float


@dataclass(frozen=True, slots=True)
class Status:
    """All that ``/status`` tells. ``settings`` are the effective ones that limit the work, as texts."""

    at: int
    version: str
    instance: str
    uptime_s: float
    phase: str
    alive: bool
    ready: bool
    reasons: tuple[Trouble, ...]
    model: ModelInfo | None
    group: str
    delivery: str
    topics: Mapping[str, str]
    settings: Mapping[str, str]
    stream: StreamStatus | None
    last_failures: tuple[FailedEvent, ...]
