"""Each metric of the service, once.

A `Metrics` has a registry of its own, so that two of them in one process (two tests, say) never
meet. Label values come from closed sets and stand at 0 from the start, so that ``rate()`` and alerts
see the first failure of a kind; no label ever holds a URL, a host or anything else out of an event.

Who counts: the stream loop alone sets the gauges and counts outcomes; stages are observed from the
threads that do the work. Counting takes a few microseconds and is thread-safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from consumer.errors import event_errors
from consumer.events import ModelInfo
from consumer.health import Health, ReasonName

OutcomeKind = Literal["predicted", "failed", "unreadable"]
MeasuredStage = Literal["fetch", "decode", "wait", "predict", "publish"]
TransactionResult = Literal["committed", "aborted", "unknown"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus text, the version that every Prometheus since 2014 reads."""

STAGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
"""Seconds. A decode takes 1 to 25 ms, a model call 5 to 250 ms, a fetch 10 ms up to its deadline: steps
of 2 to 2.5 bound the error of a quantile. 10 is the default FETCH_DEADLINE_S, so that fetches that
were cut off stand in a bucket of their own; 60 is the longest that a transaction may take."""

EVENT_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0)
"""Seconds. Fetch, model and transaction together take at least 10 ms; past a minute an event has been
waiting in its topic, and how much waits there is the lag's to say. 300 tells a hiccup from a backlog."""

BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Images. The fixed shapes of the model call are powers of two; 1024 is the largest BATCH_MAX_SIZE."""

# A _created series beside every counter would double the exposition and tells nothing that
# process_start_time_seconds does not.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped


class Metrics:
    """Every metric of the contract as an attribute.

    Args:
        registry: where the metrics are kept; a fresh one if null.
        clock: monotonic seconds.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self._clock = clock
        self._held_since: float | None = None
        self._lags: set[tuple[str, str]] = set()

        ProcessCollector(registry=self.registry)  # process_resident_memory_bytes, process_open_fds, …
        PlatformCollector(registry=self.registry)  # python_info
        GCCollector(registry=self.registry)  # python_gc_…

        self.events = Counter(
            "image_consumer_events_total",
            "Events whose outcome is committed, by what came of them.",
            ["outcome"],
            registry=self.registry,
        )
        self.failures = Counter(
            "image_consumer_failures_total",
            "Events that failed or could not be read, by error code.",
            ["code"],
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "image_consumer_stage_seconds",
            "Time that one event (publish: one transaction) spends in a stage; wait is for a place in a batch.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self.event_seconds = Histogram(
            "image_consumer_event_seconds",
            "Time from the record's timestamp to its committed outcome.",
            buckets=EVENT_BUCKETS,
            registry=self.registry,
        )
        self.shared_fetches = Counter(
            "image_consumer_shared_fetches_total",
            "Events whose image came with the fetch of another event for the same URL.",
            registry=self.registry,
        )
        self.recalled_answers = Counter(
            "image_consumer_recalled_answers_total",
            "Images that were neither decoded nor predicted, since the same bytes had been before.",
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "image_consumer_batch_size", "Images in one model call.", buckets=BATCH_BUCKETS, registry=self.registry
        )
        self.in_flight = Gauge(
            "image_consumer_in_flight", "Events taken in and not finished yet.", registry=self.registry
        )
        self.lag = Gauge(
            "image_consumer_lag",
            "Events of an assigned partition whose outcome is not committed yet.",
            ["topic", "partition"],
            registry=self.registry,
        )
        self.watermark_age_seconds = Gauge(
            "image_consumer_watermark_age_seconds",
            "How long the event that holds back its partition the longest has been held; 0 if none is.",
            registry=self.registry,
        )
        # Computed at the scrape: it goes on growing when the loop, which would set it, hangs.
        self.watermark_age_seconds.set_function(self._watermark_age)
        self.assigned_partitions = Gauge(
            "image_consumer_assigned_partitions", "Partitions that this instance reads.", registry=self.registry
        )
        self.not_ready_seconds = Gauge(
            "image_consumer_not_ready_seconds",
            "For how long /readyz has said no, by reason; 0 for what is no reason now.",
            ["reason"],
            registry=self.registry,
        )
        self.rebalances = Counter(
            "image_consumer_rebalances_total",
            "Assignments, revocations and losses of partitions.",
            registry=self.registry,
        )
        self.transactions = Counter(
            "image_consumer_transactions_total",
            "Transactions by their result; unknown is a commit that was not answered in time.",
            ["result"],
            registry=self.registry,
        )
        self.model_info = Gauge(
            "image_consumer_model_info",
            "The model that answers; always 1.",
            ["name", "version", "backend", "precision"],
            registry=self.registry,
        )

        for error in event_errors():
            self.failures.labels(error.code)
        for result in get_args(TransactionResult):
            self.transactions.labels(result)
        for reason in get_args(ReasonName):
            self.not_ready_seconds.labels(reason)
        # Counted for every event: the children are looked up once, not each time.
        self._outcomes = {outcome: self.events.labels(outcome) for outcome in get_args(OutcomeKind)}
        self._stages = {stage: self.stage_seconds.labels(stage) for stage in get_args(MeasuredStage)}

    def count(self, outcome: OutcomeKind, code: str | None = None) -> None:
        """One event is finished and committed; ``code`` is its failure's, or null."""
        self._outcomes[outcome].inc()
        if code is not None:
            self.failures.labels(code).inc()

    def observe_stage(self, stage: MeasuredStage, seconds: float) -> None:
        """One event spent so long in a stage."""
        self._stages[stage].observe(seconds)

    def set_lags(self, lags: Mapping[tuple[str, int], int]) -> None:
        """Replaces the lag of all partitions: (topic, partition) → events. Those that are not named vanish."""
        named = {(topic, str(partition)): lag for (topic, partition), lag in lags.items()}
        for topic, partition in self._lags - named.keys():
            self.lag.remove(topic, partition)
        for (topic, partition), lag in named.items():
            self.lag.labels(topic, partition).set(lag)
        self._lags = set(named)

    def set_held_since(self, since: float | None) -> None:
        """When the oldest event that holds back its partition was taken in, by ``clock``; null: none does."""
        self._held_since = since

    def watch(self, health: Health) -> None:
        """Whether it is ready is asked at each look from now on."""

        def for_s(name: str) -> float:
            return next((one.for_s for one in health.ready().reasons if one.name == name), 0.0)

        for reason in get_args(ReasonName):
            self.not_ready_seconds.labels(reason).set_function(partial(for_s, reason))

    def set_model(self, info: ModelInfo) -> None:
        """Which model answers from now on."""
        self.model_info.clear()
        self.model_info.labels(info.name, info.version, info.backend, info.precision).set(1)

    def exposition(self) -> bytes:
        """Everything as Prometheus text, of the type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _watermark_age(self) -> float:
        since = self._held_since
        return 0.0 if since is None else max(0.0, self._clock() - since)
