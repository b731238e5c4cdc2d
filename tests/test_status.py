"""``/status``: what a person on call sees, who may see it, and that it does nothing but show."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from consumer.errors import ConnectFailed, HttpStatus
from consumer.events import Failure, ModelInfo
from consumer.failures import FailedEvent, RecentFailures
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.model import Choice
from consumer.model.trials import Trial
from consumer.settings import Settings
from consumer.status import HeldUp, ModelChoice, PartitionStatus, Status, StreamStatus, status_of
from consumer.web import create_app

AT = 1_790_000_000_000
EVIL = "<img src=x onerror=alert(1)>\"'&"
JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

HELD = HeldUp(1207, "in flight", AT - 45_000, EVIL, f"http://a/{EVIL}")
STREAM = StreamStatus(
    at=AT - 400,
    queued=3,
    in_flight=2,
    finished=7,
    held_bytes=5_000,
    partitions=(
        PartitionStatus(0, 12_345, 1207, 3, 1, 7, HELD),
        PartitionStatus(1, None, None, 0, 0, 0, None, silent=True),
    ),
    transactions={"committed": 9, "unknown": 1},
    events={"predicted": 90, "failed": 10},
    failures={"http_status": 10},
    events_last_minute=60,
    failures_last_minute={"http_status": 4},
)
CHOICE = Choice(
    backend=lambda images: [images],  # type: ignore[arg-type] # nobody asks it
    max_batch=4,
    trials=(
        Trial("tensorflow", "float32", 0.0, 24, 24, seconds=0.01),
        Trial("openvino", "float32", 0.0001, 24, 24, seconds=0.005, taken=True),
        Trial("openvino", "bfloat16", 0.0104, 24, 24, seconds=0.0049),
        Trial("openvino", "int8", 0.31, 24, 22, seconds=0.0004),
        Trial("tensorflow", "bfloat16", problem=EVIL),
    ),
    batches={1: 0.0125, 4: 0.005},
    measured_at=AT - 86_400_000,
    kept=True,
)


def status(**more: Any) -> Status:
    failures = RecentFailures()
    failures.note(FailedEvent.of(Failure.of(HttpStatus(404)), AT - 3_000, url=f"http://u:pw@a/{EVIL}?k=secret"))
    failures.note(
        FailedEvent.of(
            Failure.of(ConnectFailed("it is so", attempts=3)), AT - 2_000, partition=4, offset=99, event_id=EVIL
        )
    )
    health = Health(60)
    health.running()
    made = status_of(
        Settings(fetch_deadline_s=7),
        instance="pod-1",
        uptime_s=3_700,
        health=health,
        model=ModelInfo("garments", "7", "openvino", "bfloat16"),
        choice=CHOICE,
        stream=STREAM,
        failures=failures,
        tuned={"FETCH_CONCURRENCY": 32},
    )
    return replace(made, at=AT, **more)


@pytest.fixture
def show() -> Callable[..., httpx.Response]:
    """Asks for /status."""

    def ask(made: Status | None = None, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        app = create_app(
            predictor=lambda: None,
            model=lambda: None,
            health=Health(60),
            metrics=Metrics(),
            version="1",
            status=lambda: made or status(),
            **more,
        )

        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
                return await client.get("/status", headers=headers or BROWSER)

        return asyncio.run(asked())

    return ask


Show = Callable[..., httpx.Response]


def text_of(page: str) -> str:
    return re.sub(r"<style>.*?</style>|<[^>]*>", " ", page)


def test_one_look_tells_what_runs_what_is_held_up_and_what_failed_last(show: Show) -> None:
    response = show()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    told = " ".join(text_of(response.text).split())
    for expected in (
        "pod-1 · up for 61 min",
        "Ready",
        "1.0 events/s, last minute",
        "4 failures, last minute",
        "12,345 lag",
        "45 s longest held up, partition 0",
        "9 · 0 · 1 published · aborted · unknown",
        "1207, in flight 45 s",
        "http_status 4 10",
        "connect_failed 4-99",
        "http_status HTTP",
        "garments 7 on openvino, bfloat16 ( why ) · group image-consumer · exactly-once",
        "image-urls.dead-letter",
        "FETCH_DEADLINE_S 7",
        "FETCH_CONCURRENCY 32",
    ):
        assert expected in told, told


def test_the_same_as_json(show: Show) -> None:
    told = show(headers=JSON).json()
    assert told["stream"]["partitions"][0]["held_up"]["offset"] == 1207
    assert told["stream"]["partitions"][1]["lag"] is None
    assert [one["silent"] for one in told["stream"]["partitions"]] == [False, True]
    assert [(one["code"], one["partition"]) for one in told["last_failures"]] == [
        ("connect_failed", 4),
        ("http_status", None),
    ]
    assert told["settings"]["FETCH_CONCURRENCY"] == "32"
    assert told["model"]["name"] == "garments"


def test_every_way_to_run_the_model_is_shown_with_its_speed_and_what_became_of_it(show: Show) -> None:
    told = " ".join(text_of(show().text).split())
    for expected in (
        "tensorflow float32 100 24 of 24 0.0000 agrees slower",
        "openvino float32 200 24 of 24 0.0001 chosen",
        "openvino bfloat16 204 24 of 24 0.0104 agrees not clearly faster than float32, and less precise",
        "openvino int8 2,500 22 of 24 0.3100 refused 2 of 24 most probable labels differ",
        "tensorflow bfloat16 – – – not possible &lt;img",
        "in batches of 8: kept from an earlier start, 2026-09-20 14:13:20 UTC. "
        "The chosen one gets batches of up to 4; its images/s by batch size are 1: 80.0 · 4: 200.",
    ):
        assert expected in told, told
    now = show(status(choice=ModelChoice.of(replace(CHOICE, kept=False, batches={}))))
    assert "in batches of 8: measured at this start." in text_of(now.text)
    assert "The chosen one gets batches of up to 4, as BATCH_MAX_SIZE says." in text_of(now.text)


def test_every_way_to_run_the_model_is_in_the_json(show: Show) -> None:
    told = show(headers=JSON).json()["choice"]
    assert (told["kept"], told["at"], told["max_batch"]) == (True, AT - 86_400_000, 4)
    assert told["images_per_s"] == {"1": 80.0, "4": 200.0}
    verdicts = [(one["backend"], one["precision"], one["verdict"]) for one in told["candidates"]]
    assert verdicts == [
        ("tensorflow", "float32", "agrees"),
        ("openvino", "float32", "chosen"),
        ("openvino", "bfloat16", "agrees"),
        ("openvino", "int8", "refused"),
        ("tensorflow", "bfloat16", "not possible"),
    ]
    assert told["candidates"][3] == {
        "backend": "openvino",
        "precision": "int8",
        "verdict": "refused",
        "reason": "2 of 24 most probable labels differ from those of TensorFlow in float32",
        "timed_with": 8,
        "images_per_s": 2500.0,
        "labels": 24,
        "labels_equal": 22,
        "largest_difference": 0.31,
    }
    assert {told["candidates"][4][key] for key in ("images_per_s", "labels", "labels_equal")} == {None}


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("application/json, */*;q=0.1", True),
        ("text/html", False),
    ],
)
def test_json_is_for_who_asks_for_it(show: Show, accept: str, json: bool) -> None:
    response = show(headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith("application/json" if json else "text/html")
    assert response.headers["Vary"] == "Accept"


def test_html_out_of_an_event_is_text_and_nothing_secret_is_shown(show: Show) -> None:
    page = show().text
    assert "<img" not in page
    assert "onerror=alert(1)&gt;" in page
    assert "<script" not in page
    for secret in ("secret", "pw@"):
        assert secret not in page
        assert secret not in show(headers=JSON).text


def test_the_page_needs_nothing_from_elsewhere_and_its_style_is_the_one_that_its_policy_allows(show: Show) -> None:
    import hashlib

    response = show()
    (style,) = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.headers["Content-Security-Policy"]
    assert f"'sha256-{allowed}'" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "style=" not in response.text
    assert re.findall(r'(?:src|href)="([^"]+)"', response.text) == ["docs/favicon-32x32.png", "#model"]


def test_it_renews_itself(show: Show) -> None:
    assert '<meta http-equiv="refresh" content="5">' in show().text


def test_reasons_stand_at_the_top(show: Show) -> None:
    health = Health(60)
    health.running()
    health.hold("breaker", "intake is paused: nothing comes from 5 of 5 hosts")
    told = status_of(
        Settings(),
        instance="i",
        uptime_s=1,
        health=health,
        model=None,
        choice=None,
        stream=None,
        failures=RecentFailures(),
        tuned={},
    )
    page = text_of(show(told).text)
    assert page.index("Alive, not ready") < page.index("nothing comes from 5 of 5 hosts") < page.index("Last failures")


def test_a_stream_that_does_not_report_is_told(show: Show) -> None:
    assert "has not reported" not in show().text
    told = show(status(stream=replace(STREAM, at=AT - 75_000))).text
    assert "The stream has not reported for 75 s" in told


def test_while_it_starts_there_is_a_page_already(show: Show) -> None:
    told = status_of(
        Settings(),
        instance="i",
        uptime_s=1,
        health=Health(60),
        model=None,
        choice=None,
        stream=None,
        failures=RecentFailures(),
        tuned={},
    )
    page = text_of(show(told).text)
    assert "Starting" in page
    assert "no model loaded yet" in page


# ── the key ──────────────────────────────────────────────────────────────────────────────────────


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    "given", [{"Authorization": "Bearer right-key"}, basic("anybody:right-key"), basic(":right-key")]
)
@pytest.mark.parametrize("accept", [JSON, BROWSER])
def test_with_the_key_there_is_an_answer(show: Show, given: dict[str, str], accept: dict[str, str]) -> None:
    assert show(headers=given | accept, api_key="right-key").status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Authorization": "Bearer wrong-key"},
        {"Authorization": "right-key"},
        {"Authorization": "Basic right-key"},
        {"Authorization": "Basic !!!"},
        basic("right-key"),
        basic("right-key:"),
        basic("anybody:right-key2"),
        basic("anybody:other:right-key"),
    ],
)
def test_without_it_a_program_and_a_browser_are_told_how(show: Show, given: dict[str, str]) -> None:
    response = show(headers=given | JSON, api_key="right-key")
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    response = show(headers=given | BROWSER, api_key="right-key")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic ")  # so that a browser asks
    assert "pod-1" not in response.text
    if "Basic " not in given.get("Authorization", "Basic "):
        assert "the key as the password" in response.text


def test_who_has_the_key_for_predictions_cannot_use_it_as_a_password_there(show: Show) -> None:
    """A browser sends a password along by itself, also when another site makes it ask."""
    app = create_app(
        predictor=lambda: None,
        model=lambda: None,
        health=Health(60),
        metrics=Metrics(),
        version="1",
        api_key="right-key",
    )

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.get("/predict/?url=http://a/", headers=basic("x:right-key"))

    assert asyncio.run(asked()).status_code == 401


def test_it_is_documented(show: Show) -> None:
    app = create_app(
        predictor=lambda: None,
        model=lambda: None,
        health=Health(60),
        metrics=Metrics(),
        version="1",
        status=status,
        api_key="right-key",
    )
    told = app.openapi()["paths"]["/status"]["get"]
    assert set(told["responses"]["200"]["content"]) == {"application/json", "text/html"}
    assert told["security"] == [{"HTTPBearer": []}, {"HTTPBasic": []}]
