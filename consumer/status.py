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
from consumer.model import Choice
from consumer.model.probes import PROBES
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
    outcome is not committed; both null while not known. ``silent``: it does not begin, nothing comes of it.
    """

    partition: int
    lag: int | None
    committed: int | None
    queued: int
    in_flight: int
    finished: int
    held_up: HeldUp | None
    silent: bool = False


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
class Candidate:
    """A way to run the model, held against TensorFlow in float32 on probe images.

    ``verdict`` is ``chosen``, ``agrees`` (it could answer, and another does), ``refused`` or ``not possible``;
    ``reason`` says why it is not ``chosen``. ``images_per_s`` is the speed in batches of ``timed_with`` images.
    What was not measured is null.
    """

    backend: str
    precision: str
    verdict: str
    reason: str
    timed_with: int
    images_per_s: float | None
    labels: int | None
    labels_equal: int | None
    largest_difference: float | None


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """How it was chosen what runs the model: measured ``at`` this start, or at an earlier one and kept.

    ``images_per_s`` is the speed of the chosen candidate by the size of its batch, ``max_batch`` the size that is
    taken at most; there are no speeds where ``BATCH_MAX_SIZE`` sets it.
    """

    at: int
    kept: bool
    max_batch: int
    images_per_s: Mapping[int, float]
    candidates: tuple[Candidate, ...]

    @classmethod
    def of(cls, choice: Choice) -> ModelChoice:
        """What the model's room found out, as it is shown."""
        candidates = []
        for trial in choice.trials:
            verdict, reason = choice.verdict(trial)
            answered = trial.difference is not None
            candidates.append(
                Candidate(
                    trial.backend,
                    trial.precision,
                    verdict,
                    reason,
                    timed_with=PROBES,
                    images_per_s=None if trial.images_per_s is None else round(trial.images_per_s, 1),
                    labels=trial.labels if answered else None,
                    labels_equal=trial.labels_equal if answered else None,
                    largest_difference=trial.difference,
                )
            )
        speeds = {size: round(1 / seconds, 1) for size, seconds in choice.batches.items()}
        return cls(choice.measured_at, choice.kept, choice.max_batch, speeds, tuple(candidates))


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
    choice: ModelChoice | None
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
    choice: Choice | None,
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
        choice=ModelChoice.of(choice) if choice else None,
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
