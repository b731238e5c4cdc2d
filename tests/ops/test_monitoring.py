"""docs/monitoring.md names every metric as it is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from consumer.errors import event_errors
from consumer.metrics import Metrics

TEXT = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")
PREFIX = "image_consumer_"


def the_services_own() -> dict[str, tuple[str, set[str]]]:
    """Name as it is scraped, without the prefix → its kind and labels."""
    found: dict[str, tuple[str, set[str]]] = {}
    for one in vars(Metrics()).values():
        if isinstance(one, MetricWrapperBase):
            name = one._name.removeprefix(PREFIX) + ("_total" if one._type == "counter" else "")
            found[name] = (str(one._type), set(one._labelnames))
    return found


def test_the_table_lists_every_metric_with_its_kind_and_labels() -> None:
    told = {}
    for names, kind in re.findall(r"^\| (`[a-z_].*?`) \| (counter|gauge|histogram) \|", TEXT, re.MULTILINE):
        for name, labels in re.findall(r"`(\w+)(?:\{([\w,]+)\})?`", names):
            told[name] = (kind, set(labels.split(",")) if labels else set())
    assert told == the_services_own()


def test_the_expressions_ask_for_metrics_labels_and_codes_that_exist() -> None:
    metrics = the_services_own()
    asked = re.findall(rf"{PREFIX}(\w+)(?:\{{(\w+)[=!~]+\"([^\"]*)\"\}})?", TEXT)
    assert {name for name, _, _ in asked} >= {"lag", "events_total", "failures_total", "watermark_age_seconds"}
    for name, label, value in asked:
        assert name in metrics
        assert not label or label in metrics[name][1]
        if label == "code":
            assert set(value.split(r"\|")) <= {error.code for error in event_errors()}
