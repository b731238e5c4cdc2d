"""Each metric of the contract, once, with values that start at 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.errors import event_errors
from consumer.events import ModelInfo
from consumer.health import Health
from consumer.metrics import BATCH_BUCKETS, EVENT_BUCKETS, STAGE_BUCKETS, Metrics

CONTRACT = {
    "image_consumer_events": "counter",
    "image_consumer_failures": "counter",
    "image_consumer_stage_seconds": "histogram",
    "image_consumer_event_seconds": "histogram",
    "image_consumer_batch_size": "histogram",
    "image_consumer_in_flight": "gauge",
    "image_consumer_lag": "gauge",
    "image_consumer_watermark_age_seconds": "gauge",
    "image_consumer_assigned_partitions": "gauge",
    "image_consumer_not_ready_seconds": "gauge",
    "image_consumer_rebalances": "counter",
    "image_consumer_transactions": "counter",
    "image_consumer_model_info": "gauge",
    "image_consumer_shared_fetches": "counter",
    "image_consumer_recalled_answers": "counter",
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Label values (in the order of the labels' names) → value, of every sample of that name."""

    def of_name() -> Iterator[tuple[tuple[str, ...], float]]:
        for family in text_string_to_metric_families(metrics.exposition().decode()):
            for sample in family.samples:
                if sample.name == name:
                    yield tuple(sample.labels.values()), sample.value

    return dict(of_name())


def test_the_exposition_holds_every_metric_of_the_contract_once_and_no_other_of_ours(metrics: Metrics) -> None:
    families = [
        (family.name, family.type)
        for family in text_string_to_metric_families(metrics.exposition().decode())
        if family.name.startswith("image_consumer_")
    ]
    assert sorted(families) == sorted(CONTRACT.items())


def test_process_and_platform_are_exposed_too(metrics: Metrics) -> None:
    text = metrics.exposition().decode()
    assert "python_info{" in text
    assert "python_gc_objects_collected_total{" in text
    if Path("/proc/self/stat").exists():
        assert "process_resident_memory_bytes " in text


def test_closed_label_sets_stand_at_zero_from_the_start(metrics: Metrics) -> None:
    assert samples(metrics, "image_consumer_events_total") == {
        ("predicted",): 0,
        ("failed",): 0,
        ("unreadable",): 0,
    }
    assert samples(metrics, "image_consumer_failures_total") == {(error.code,): 0 for error in event_errors()}
    assert samples(metrics, "image_consumer_transactions_total") == {
        ("committed",): 0,
        ("aborted",): 0,
        ("unknown",): 0,
    }
    assert set(samples(metrics, "image_consumer_stage_seconds_count")) == {
        ("fetch",),
        ("decode",),
        ("wait",),
        ("predict",),
        ("publish",),
    }


def test_an_outcome_is_counted_with_the_code_of_its_failure(metrics: Metrics) -> None:
    metrics.count("predicted")
    metrics.count("failed", "http_status")
    metrics.count("unreadable", "event_unreadable")
    assert set(samples(metrics, "image_consumer_events_total").values()) == {1}
    counted = {code for (code,), n in samples(metrics, "image_consumer_failures_total").items() if n}
    assert counted == {"http_status", "event_unreadable"}


def test_a_stage_is_observed_under_its_name(metrics: Metrics) -> None:
    metrics.observe_stage("fetch", 0.2)
    assert samples(metrics, "image_consumer_stage_seconds_sum")[("fetch",)] == 0.2
    assert samples(metrics, "image_consumer_stage_seconds_sum")[("decode",)] == 0


@pytest.mark.parametrize("buckets", [STAGE_BUCKETS, EVENT_BUCKETS, BATCH_BUCKETS])
def test_buckets_rise(buckets: tuple[float, ...]) -> None:
    assert list(buckets) == sorted(set(buckets))


def test_buckets_reach_from_milliseconds_to_tens_of_seconds() -> None:
    assert STAGE_BUCKETS[0] <= 0.001
    assert EVENT_BUCKETS[0] <= 0.01
    assert min(STAGE_BUCKETS[-1], EVENT_BUCKETS[-1]) >= 60


def test_the_lag_of_a_partition_that_is_gone_vanishes(metrics: Metrics) -> None:
    metrics.set_lags({("t", 0): 5, ("t", 1): 7})
    metrics.set_lags({("t", 1): 6})
    assert samples(metrics, "image_consumer_lag") == {("1", "t"): 6}
    metrics.set_lags({})
    assert samples(metrics, "image_consumer_lag") == {}


def test_the_watermark_age_grows_without_anybody_setting_it() -> None:
    now = 100.0
    metrics = Metrics(clock=lambda: now)
    metrics.set_held_since(100.0)
    now = 107.5
    assert samples(metrics, "image_consumer_watermark_age_seconds") == {(): 7.5}
    metrics.set_held_since(None)
    assert samples(metrics, "image_consumer_watermark_age_seconds") == {(): 0}


def test_one_model_is_told_at_a_time(metrics: Metrics) -> None:
    assert samples(metrics, "image_consumer_model_info") == {}
    metrics.set_model(ModelInfo("garments", "1", "tensorflow"))
    metrics.set_model(ModelInfo("garments", "2", "openvino", "int8"))
    assert samples(metrics, "image_consumer_model_info") == {("openvino", "garments", "int8", "2"): 1}


def test_two_instances_never_meet() -> None:
    one, other = Metrics(), Metrics()
    one.count("predicted")
    assert samples(other, "image_consumer_events_total")[("predicted",)] == 0


def test_it_tells_for_how_long_and_why_the_service_is_not_ready(metrics: Metrics) -> None:
    now = 100.0
    health = Health(60.0, clock=lambda: now)
    assert set(samples(metrics, "image_consumer_not_ready_seconds").values()) == {0}
    metrics.watch(health)
    now = 103.0
    health.hold("group", "the group is not joined yet")
    now = 104.0
    told = samples(metrics, "image_consumer_not_ready_seconds")
    assert {reason: seconds for reason, seconds in told.items() if seconds} == {("starting",): 4, ("group",): 1}
    health.running()
    health.release("group")
    assert set(samples(metrics, "image_consumer_not_ready_seconds").values()) == {0}
