"""What a person on call wants to see, as frozen data: the page and the JSON of ``/status`` show the same.

The stream's thread makes a new `StreamStatus` every second and the HTTP thread reads whichever is the newest,
so neither waits for the other. Points in time are milliseconds since the epoch: an age that is worked out
when it is shown stays true when the stream hangs and its last report grows old.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from consumer.events import ModelInfo
from consumer.failures import FailedEvent, RecentFailures
from consumer.health import Health
from consumer.settings import Settings

SHOWN: Final = (
    *("FETCH_DEADLINE_S", "FETCH_ATTEMPTS", "FETCH_CONCURRENCY", "FETCH_PER_HOST", "FETCH_MAX_BYTES"),
    *("FETCH_ALLOW_HOSTS", "FETCH_ALLOW_NETS", "FETCH_ALLOW_PORTS", "IMAGE_MAX_PIXELS"),
    *("BATCH_MAX_SIZE", "BATCH_MAX_WAIT_MS", "DRAIN_S", "STUCK_AFTER_S"),
)
"""The settings that bound the work."""


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
    """All that ``/status`` tells.

    ``settings`` are the effective ones that bound the work, as one would write them into the environment.
    """

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


def status_of(
    settings: Settings,
    *,
    instance: str,
    uptime_s: float,
    health: Health,
    model: ModelInfo | None,
    stream: StreamStatus | None,
    failures: RecentFailures,
    tuned: Mapping[str, object],
) -> Status:
    """All of it as it is now; ``tuned`` holds what stands in place of settings that are not set."""
    ready = health.ready()
    rows = {row.variable: str(tuned.get(row.variable, row.value)) for row in settings.rows()}
    return Status(
        at=time.time_ns() // 1_000_000,
        version=version("image-consumer"),
        instance=instance,
        uptime_s=round(uptime_s, 1),
        phase=ready.phase,
        alive=health.live().ok,
        ready=ready.ok,
        reasons=tuple(Trouble(one.name, one.text, round(one.for_s, 1)) for one in ready.reasons),
        model=model,
        group=settings.kafka.group_id,
        delivery=settings.delivery,
        topics={
            "input": settings.input_topic,
            "output": settings.output_topic,
            "dead-letter": settings.dead_letter_topic,
        },
        settings={name: rows[name] for name in SHOWN},
        stream=stream,
        last_failures=tuple(failures.last()),
    )
