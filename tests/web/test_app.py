"""The other paths, and what all answers have in common."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from consumer.events import Answer
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.web import create_app
from tests.web.asking import PREDICT, ask, code


def test_the_root_says_that_it_is_up(app_with: Callable[..., Any]) -> None:
    assert ask(app_with(), "/").json() == {"API status": "Up and running!"}


def test_the_probes_tell_the_verdicts_of_the_health(app_with: Callable[..., Any], health: Health) -> None:
    app = app_with()
    assert ask(app, "/livez").status_code == 200
    assert ask(app, "/readyz").json() == {
        "ok": True,
        "phase": "running",
        "reason": "ok",
        "reasons": [],
        "model": {"name": "garments", "version": "7", "backend": "tensorflow", "precision": "float32"},
    }
    health.hold("group", "the consumer group is not joined")
    assert ask(app, "/livez").status_code == 200
    response = ask(app, "/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"][0]["name"] == "group"


def test_a_stuck_service_is_not_live(app_with: Callable[..., Any]) -> None:
    now = 0.0
    stuck = Health(60, clock=lambda: now)
    stuck.running()
    now = 61.0
    app = create_app(predictor=lambda: None, model=lambda: None, health=stuck, metrics=Metrics(), version="1")
    response = ask(app, "/livez")
    assert response.status_code == 503
    assert response.json()["reason"] == "the stream loop does not turn (for 61 s)"


def test_the_metrics_are_prometheus_text(app_with: Callable[..., Any]) -> None:
    response = ask(app_with(), "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'image_consumer_events_total{outcome="predicted"} 0.0' in response.text


@pytest.mark.parametrize("path", ["/nothing", "/predict/more", "/livez/", "/docs/../secret"])
def test_what_is_not_there_is_told_in_the_same_form(app_with: Callable[..., Any], path: str) -> None:
    assert code(ask(app_with(), path)) == (404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused_in_the_same_form(app_with: Callable[..., Any], method: str) -> None:
    response = ask(app_with(), "/predict/", method)
    assert code(response) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", PREDICT])
def test_head_is_get_without_the_body(app_with: Callable[..., Any], path: str) -> None:
    app = app_with()
    head, get = ask(app, path, "HEAD"), ask(app, path)
    assert head.content == b""
    assert (head.status_code, head.headers["Content-Type"]) == (200, get.headers["Content-Type"])


@pytest.mark.parametrize("path", ["/", PREDICT, "/predict/", "/nothing", "/docs", "/docs/swagger-ui.css"])
def test_every_answer_has_the_headers_that_protect_a_browser(app_with: Callable[..., Any], path: str) -> None:
    headers = ask(app_with(), path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_mistake_of_ours_is_logged_and_tells_nothing(
    app_with: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> Future[Answer]:
        raise KeyError("what nobody should see")

    response = ask(app_with(fail), PREDICT)
    assert code(response) == (500, "internal")
    assert "nobody should see" not in response.text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "images.example" not in record.getMessage(), "the query may hold secrets"
